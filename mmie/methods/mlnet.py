"""MLNet: picture and text attend to each other inside the text encoder, behind a hard gate.

Zhai, Lv, Hou, Tong, Bu, MLNet: a multi-level multimodal named entity recognition architecture,
Frontiers in Neurorobotics 17, 2023, https://doi.org/10.3389/fnbot.2023.1181143

1. The last map of a frozen ResNet gives the regions of every view. A small transformer reads them.
2. An LSTM reads the characters of every word. Its vector is added to the embeddings of the word's
   pieces.
3. In the last layers of the text encoder regions attend to the text, and the text to the regions.
   The keys and values of one are fused with a summary of the other.
4. A gate, 0 or 1, admits the picture if it matches the text. Mismatched pairs of the batch train
   it.
5. A bidirectional LSTM reads the text's states. The shared head classifies its states.

==================================  =============================  =================================
paper                               here                           shape
==================================  =============================  =================================
regions v_I (Equation 1)            `MLNet.encode_regions`         (batch, regions, hidden)
words and characters (Section 3.2)  `MLNet.lower_text_layers`      (batch, tokens, hidden)
attention (Equations 2, 3)          `RegionLayer.forward`          (batch, regions, hidden)
fused keys and values               `FusedAttention.forward`       (batch, queries, hidden)
cross-attention layer (Figure 4)    `FusionLayer.forward`          (batch, tokens, hidden),
                                                                   (batch, regions, hidden)
match, G (Equation 8)               `Match.forward`, `MLNet.gate`  (batch,)
BiLSTM (Section 3.3)                `BiLSTM`                       (batch, tokens, 2 * lstm_size)
                                    (`mmie.blocks.recurrent`)
==================================  =============================  =================================

Pretraining (Equations 4 to 7) is `mmie.methods.mlnet_pretraining`. ``init_from`` takes its
checkpoint.

**Departures.**

- The paper gives ResNet-18 and 2048 channels, which exclude each other. Here ``vision_backbone``
  decides.
- Fused keys and values pass through tanh. Without it a summary would add the same number to all
  scores of a query, and fusing keys would have no effect.
- Within a layer regions attend to the text first, then the text to them, so that every part has an
  effect. The text's part is scaled by a vector that starts at 0, so that training starts at the
  plain text encoder.
- The gradient of G is that of the score.
- A mismatch has half the weight of a match in the loss of the gate. With equal weights the gate
  would be at chance wherever text and picture do not decide. Posts that share a picture are no
  mismatch.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mmie.blocks.all_gather import all_gather_rows
from mmie.blocks.attention import MultiHeadAttention, attend_heads, masked_mean
from mmie.blocks.recurrent import BiLSTM, CharacterEncoder
from mmie.blocks.text_layers import embed_text, layer_mask, text_layers
from mmie.blocks.vision import VisualOutput
from mmie.blocks.weights import zero_for_unused
from mmie.methods import papers
from mmie.methods.inspection import inspecting
from mmie.methods.multimodal import MultimodalModule
from mmie.types import Batch, Encoding, Schema

Fusion = Literal["early", "late"]
_THRESHOLD = 0.5  # of Equation 8
# with it, the best score of a picture that does not show whether it matches is 2/3: it is admitted
_MISMATCH_WEIGHT = 0.5
_OPEN = math.log(1 / _MISMATCH_WEIGHT)  # initial bias of the score, whose sigmoid is 2/3


class MLNet(MultimodalModule):
    """Multi-level multimodal network.

    Args:
        schema: Description of the data. The command line links it from the data module.
        vision_backbone: Name of a ``timm`` model, or local folder of one.
        visual_layers: Layers of the transformer over regions.
        fusion_layers: Last layers of the text encoder in which picture and text are fused.
        fusion: ``early`` fuses in these layers, ``late`` once after the last layer ("w/o Fus.").
        char_embedding: Add the characters of words. False leaves word pieces alone ("w/o Mtla.").
        match_weight: Weight of the loss that trains the gate.
        lstm_size: Width of the LSTM's states in each direction.
        lstm_dropout: Dropout before and after the LSTM.
        **shared: See `MultimodalModule` and `ExtractionModule`.

    Raises:
        ValueError: ``fusion`` or ``fusion_layers`` is out of range, or the text encoder is not
            built like BERT.
    """

    paper = papers.MLNET
    vision_output: ClassVar[VisualOutput] = "grid"

    def __init__(
        self,
        schema: Schema,
        vision_backbone: str = "resnet18",
        visual_layers: int = 2,
        fusion_layers: int = 6,
        fusion: Fusion = "early",
        char_embedding: bool = True,
        match_weight: float = 0.1,
        lstm_size: int = 200,
        lstm_dropout: float = 0.5,
        **shared: Any,
    ) -> None:
        super().__init__(schema, vision_backbone=vision_backbone, **shared)
        hidden_size, num_heads = self.text.hidden_size, self.text.num_heads
        self.num_fused = _num_fused(fusion, fusion_layers, len(text_layers(self.text)))
        self.match_weight = match_weight
        self.region_map = nn.Linear(self.vision.channels[-1], hidden_size)
        self.region_layers = nn.ModuleList(
            RegionLayer(hidden_size, num_heads) for _ in range(visual_layers)
        )
        self.characters = CharacterEncoder(hidden_size) if char_embedding else None
        self.match = Match(hidden_size)
        self.fusions = nn.ModuleList(
            FusionLayer(hidden_size, num_heads) for _ in range(max(1, self.num_fused))
        )
        self.bilstm = BiLSTM(hidden_size, lstm_size, lstm_dropout)
        self.set_head(2 * lstm_size)

    def head_modules(self) -> list[nn.Module]:
        """Return the parts that train at ``head_lr``."""
        return [self.head, self.bilstm]

    def encode(self, batch: Batch) -> Encoding:
        """Fuse text and regions in the upper text layers, then run the BiLSTM (Section 3)."""
        text = self.lower_text_layers(batch)  # (batch, tokens, hidden)
        regions = None
        if len(batch.readable):
            regions = self.encode_regions(self.region_grid(batch), batch)
        losses = {}
        if self.training and self.match_weight:
            losses["match"] = self.match_weight * self.match_loss(text, regions, batch)
        if regions is None:
            states = self.upper_text_layers(text, batch)  # (batch, tokens, hidden)
        else:
            states, _ = self.fuse(text, regions, batch)  # (batch, tokens, hidden)
        return Encoding(self.bilstm(states, batch.attention_mask), losses)

    def region_grid(self, batch: Batch) -> Tensor:
        """Return the backbone's features of all regions, view by view.

        Returns:
            (batch, regions, channels), where regions = views * height * width.
        """
        (maps,) = self.encode_images(batch)  # (batch, views, channels, height, width)
        return maps.flatten(3).transpose(2, 3).flatten(1, 2)

    def region_mask(self, regions: Tensor, batch: Batch) -> Tensor:
        """Return a mask of the regions of readable views, (batch, regions) bool."""
        regions_per_view = regions.shape[1] // batch.view_mask.shape[1]
        return batch.view_mask.repeat_interleave(regions_per_view, dim=1)

    def encode_regions(self, grid: Tensor, batch: Batch) -> Tensor:
        """Compute v_I = tanh(W_I v + b_I) (Equation 1) and run the transformer over regions.

        Args:
            grid: (batch, regions, channels) v.
            batch: The posts.

        Returns:
            (batch, regions, hidden)
        """
        mask = self.region_mask(grid, batch)  # (batch, regions)
        regions = torch.tanh(self.region_map(grid))  # (batch, regions, hidden)
        for layer in self.region_layers:
            regions = layer(regions, mask)
        return regions

    def lower_text_layers(self, batch: Batch) -> Tensor:
        """Embed words and characters and run the text layers below the fusion.

        Returns:
            (batch, tokens, hidden)
        """
        characters = self.embed_characters(batch)  # (batch, tokens, hidden)
        states = embed_text(self.text, batch.input_ids, batch.token_type_ids, characters)
        mask = layer_mask(self.text, states, batch.attention_mask)
        layers = text_layers(self.text)
        for layer in layers[: len(layers) - self.num_fused]:
            states = layer(states, mask)
        return states

    def upper_text_layers(self, text: Tensor, batch: Batch) -> Tensor:
        """Run the text layers of the fusion without any picture, as with G = 0.

        Args:
            text: (batch, tokens, hidden)
            batch: Posts without pictures.

        Returns:
            (batch, tokens, hidden)
        """
        mask = layer_mask(self.text, text, batch.attention_mask)
        layers = text_layers(self.text)
        for layer in layers[len(layers) - self.num_fused :]:
            text = layer(text, mask)
        return text + zero_for_unused(
            self.vision, self.region_map, self.region_layers, self.match, self.fusions
        )

    def embed_characters(self, batch: Batch) -> Tensor | None:
        """Embed the characters of every piece's word.

        Returns:
            (batch, tokens, hidden), 0 on tokens that belong to no word. None without characters.
        """
        if self.characters is None:
            return None
        words = self.characters(batch.characters)  # (batch, words, hidden)
        word_of_token = batch.token_words.clamp(min=0).unsqueeze(-1)  # (batch, tokens, 1)
        word_of_token = word_of_token.expand(-1, -1, words.shape[-1])  # (batch, tokens, hidden)
        embedded: Tensor = words.gather(1, word_of_token) * batch.text_mask.unsqueeze(-1)
        return embedded

    def fuse(self, text: Tensor, regions: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Run the text layers of the fusion with the gated picture.

        Args:
            text: (batch, tokens, hidden)
            regions: (batch, regions, hidden)
            batch: The posts.

        Returns:
            Text (batch, tokens, hidden) and regions (batch, regions, hidden).
        """
        gate = self.gate(text, regions, batch)  # (batch,)
        region_mask = self.region_mask(regions, batch)  # (batch, regions)
        attention_mask = layer_mask(self.text, text, batch.attention_mask)
        layers = text_layers(self.text)
        upper: Sequence[nn.Module | None] = [None]
        if self.num_fused:
            upper = layers[len(layers) - self.num_fused :]
        for layer, fusion in zip(upper, self.fusions, strict=True):
            inputs = (text, regions, batch.attention_mask, region_mask, gate)
            if self.training and getattr(layer, "gradient_checkpointing", False):
                text, regions = checkpoint(
                    _fused_layer, layer, attention_mask, fusion, *inputs, use_reentrant=False
                )
            else:
                text, regions = _fused_layer(layer, attention_mask, fusion, *inputs)
        return text, regions

    def gate(self, text: Tensor, regions: Tensor, batch: Batch) -> Tensor:
        """Compute G = 1 if sigmoid(LN(text, image)) > 0.5, else 0 (Equation 8).

        The gradient of G is that of the sigmoid (straight-through: Bengio et al., Estimating or
        Propagating Gradients Through Stochastic Neurons, 2013).

        Args:
            text: (batch, tokens, hidden)
            regions: (batch, regions, hidden)
            batch: The posts.

        Returns:
            (batch,), 0 without a picture.
        """
        score = torch.sigmoid(self.match(*self.summaries(text, regions, batch)))  # (batch,)
        is_open = (score > _THRESHOLD).to(score)  # (batch,)
        return (is_open + (score - score.detach())) * batch.view_mask.any(1)

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """Add ``match`` to the numbers of `ExtractionModule.diagnose`.

        ===== ======== =============================================================================
        match (batch,) score of the picture; the gate opens above 0.5; 0 without a picture
        ===== ======== =============================================================================
        """
        with inspecting(self):
            text = self.lower_text_layers(batch)  # (batch, tokens, hidden)
            regions = self.encode_regions(self.region_grid(batch), batch)
            score = torch.sigmoid(self.match(*self.summaries(text, regions, batch)))  # (batch,)
            return {**super().diagnose(batch), "match": score * batch.view_mask.any(1)}

    def match_loss(self, text: Tensor, regions: Tensor | None, batch: Batch) -> Tensor:
        """Compute the cross-entropy of match scores: posts with their own and the next picture.

        A mismatch has half the weight of a match, so that the gate closes on evidence and not by
        chance. With several processes, each compares the posts of all.

        Args:
            text: (batch, tokens, hidden) before the fusion.
            regions: (batch, regions, hidden) before the fusion, None if no post has a picture.
            batch: The posts. Those without pictures take no part.

        Returns:
            (), 0 with fewer than two pictures.
        """
        words, pictures = self.summaries(text, regions, batch)  # (batch, hidden) each
        has_picture = all_gather_rows(batch.view_mask.any(1))  # (posts,)
        words, pictures = all_gather_rows(words), all_gather_rows(pictures)  # (posts, hidden) each
        others = pictures[_next_with_picture(has_picture)]  # (posts, hidden)
        scores = torch.stack([self.match(words, pictures), self.match(words, others)]).float()
        ones = torch.ones_like(scores[0])  # (posts,)
        labels = torch.stack([ones, torch.zeros_like(ones)])  # (2, posts), as the scores
        is_mismatch = ~torch.isclose(pictures, others).all(1)  # (posts,)
        weights = has_picture * torch.stack([ones, _MISMATCH_WEIGHT * is_mismatch])  # (2, posts)
        total = functional.binary_cross_entropy_with_logits(
            scores, labels, weights, reduction="sum"
        )
        return total / weights.sum().clamp(min=1) * (has_picture.sum() > 1)

    def summaries(
        self, text: Tensor, regions: Tensor | None, batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """Compute the mean state of a post's tokens and that of its regions.

        Args:
            text: (batch, tokens, hidden)
            regions: (batch, regions, hidden), None if no post has a picture.
            batch: The posts.

        Returns:
            (batch, hidden) each, 0 for the regions of a post without a picture.
        """
        words = masked_mean(text, batch.attention_mask)  # (batch, hidden)
        if regions is None:
            return words, torch.zeros_like(words)
        return words, masked_mean(regions, self.region_mask(regions, batch))


def _next_with_picture(has_picture: Tensor) -> Tensor:
    """Find for each post with a picture the index of the next one, the first after the last.

    Args:
        has_picture: (batch,) bool

    Returns:
        (batch,)
    """
    order = has_picture.logical_not().argsort(stable=True)  # (batch,) posts with pictures first
    rank = order.argsort()  # (batch,) position of a post in that order
    num_pictures = has_picture.sum().clamp(min=1)  # ()
    return order[(rank + 1) % num_pictures]


class Match(nn.Module):
    """Score of a picture for a text, before the sigmoid of Equation 8.

    LN(text, image) = w . (W_t t * W_v v) + b. Due to the product, the score of a picture depends on
    the text. Pictures are admitted at the start.

    Args:
        hidden_size: Width of both summaries.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.text = nn.Linear(hidden_size, hidden_size)
        self.picture = nn.Linear(hidden_size, hidden_size)
        self.score = nn.Linear(hidden_size, 1)
        nn.init.constant_(self.score.bias, _OPEN)

    def forward(self, text: Tensor, pictures: Tensor) -> Tensor:
        """Compute w . (W_t t * W_v v) + b.

        Args:
            text: (batch, hidden) t.
            pictures: (batch, hidden) v.

        Returns:
            (batch,)
        """
        products = self.text(text) * self.picture(pictures)  # (batch, hidden)
        scores: Tensor = self.score(products).squeeze(-1)
        return scores


class FusedAttention(nn.Module):
    """Multi-head attention to keys and values that are fused with a summary of the queries.

    Args:
        hidden_size: Width of queries, keys and values.
        num_heads: Heads; must divide ``hidden_size``.
    """

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(hidden_size, hidden_size)
        self.pair = nn.Linear(hidden_size, 2 * hidden_size)  # W_K and W_V
        self.pair_summary = nn.Linear(hidden_size, 2 * hidden_size, bias=False)  # U_K and U_V
        self.output = nn.Linear(hidden_size, hidden_size)

    def forward(self, states: Tensor, mask: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        """Compute MHA(Q, K, V) (Equations 2, 3) from ``states`` to ``memory``.

        K = tanh(W_K m + U_K s) and V = tanh(W_V m + U_V s) for a memory m and the mean s of the
        states.

        Args:
            states: (batch, queries, hidden)
            mask: (batch, queries) bool, True on the states that s is the mean of.
            memory: (batch, positions, hidden) m.
            memory_mask: (batch, positions) bool, True on positions that may be attended to.

        Returns:
            (batch, queries, hidden), 0 if no position may be attended to.
        """
        summary = masked_mean(states, mask).unsqueeze(1)  # (batch, 1, hidden)
        pairs = torch.tanh(self.pair(memory) + self.pair_summary(summary))
        keys, values = pairs.chunk(2, dim=-1)  # (batch, positions, hidden) each
        attended = attend_heads(self.query(states), keys, values, memory_mask, self.num_heads)
        result: Tensor = self.output(attended) * memory_mask.any(-1)[:, None, None]
        return result


class FusionLayer(nn.Module):
    """Cross-attention of regions to the text, then of the text to the regions (Figure 4).

    Args:
        hidden_size: Width of text and regions.
        num_heads: Attention heads.
    """

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.regions_to_text = FusedAttention(hidden_size, num_heads)
        self.norm = nn.LayerNorm(hidden_size)
        self.text_to_regions = FusedAttention(hidden_size, num_heads)
        self.scale = nn.Parameter(torch.zeros(hidden_size))  # c

    def forward(
        self, text: Tensor, regions: Tensor, text_mask: Tensor, region_mask: Tensor, gate: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute v' = Norm(v + A(v, t)) and t' = t + G c A(t, v').

        Args:
            text: (batch, tokens, hidden) t.
            regions: (batch, regions, hidden) v.
            text_mask: (batch, tokens) bool
            region_mask: (batch, regions) bool
            gate: (batch,) G.

        Returns:
            Text (batch, tokens, hidden) and regions (batch, regions, hidden).
        """
        regions = self.norm(regions + self.regions_to_text(regions, region_mask, text, text_mask))
        visual = self.text_to_regions(text, text_mask, regions, region_mask)
        return text + gate[:, None, None] * self.scale * visual, regions


class RegionLayer(nn.Module):
    """Transformer layer over regions.

    Args:
        hidden_size: Width of a region.
        num_heads: Attention heads.
    """

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(hidden_size, num_heads)
        self.norm_attention = nn.LayerNorm(hidden_size)
        self.feed_forward = nn.Sequential(
            nn.Linear(hidden_size, 4 * hidden_size),
            nn.GELU(),
            nn.Linear(4 * hidden_size, hidden_size),
        )
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, regions: Tensor, mask: Tensor) -> Tensor:
        """Compute Norm(a + FFN(a)), a = Norm(v + MHA(v)) (Equations 2, 3).

        Args:
            regions: (batch, regions, hidden) v.
            mask: (batch, regions) bool

        Returns:
            (batch, regions, hidden)
        """
        attended = self.norm_attention(regions + self.attention(regions, regions, mask))
        result: Tensor = self.norm(attended + self.feed_forward(attended))
        return result


def _fused_layer(
    layer: Any,
    attention_mask: Tensor | None,
    fusion: nn.Module,
    text: Tensor,
    *fusion_inputs: Tensor,
) -> tuple[Tensor, Tensor]:
    """Run a text layer with the fusion between its attention and its feed-forward part.

    Args:
        layer: The text layer, None for the fusion alone.
        attention_mask: The layer's mask.
        fusion: The fusion.
        text: (batch, tokens, hidden)
        *fusion_inputs: All inputs of the fusion but the text.

    Returns:
        Text (batch, tokens, hidden) and regions (batch, regions, hidden).
    """
    attended = text if layer is None else layer.attention(text, attention_mask)[0]
    fused, regions = fusion(attended, *fusion_inputs)
    return (fused if layer is None else layer.feed_forward_chunk(fused)), regions


def _num_fused(fusion: str, fusion_layers: int, num_layers: int) -> int:
    """Return the number of text layers that fuse: ``fusion_layers``, or 0 in late fusion.

    Raises:
        ValueError: ``fusion`` is unknown, or ``fusion_layers`` is not a number of layers.
    """
    if fusion not in ("early", "late"):
        raise ValueError(f"fusion is {fusion!r}: expected early or late")
    if not 1 <= fusion_layers <= num_layers:
        raise ValueError(
            f"fusion_layers is {fusion_layers}: expected 1 to {num_layers}, the text encoder's "
            "layers"
        )
    return fusion_layers if fusion == "early" else 0
