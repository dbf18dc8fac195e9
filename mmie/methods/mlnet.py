"""MLNet: picture and text read each other inside the text encoder; a hard gate drops pictures that do not match.

Zhai, Lv, Hou, Tong, Bu, MLNet: a multi-level multimodal named entity recognition architecture, Frontiers in
Neurorobotics 17, 2023, https://doi.org/10.3389/fnbot.2023.1181143

1. Each view is cut into the regions of a frozen ResNet's last map; a small transformer of their own reads them.
2. A word's characters, read by an LSTM, are added to the embeddings of its pieces.
3. In the last layers of the text encoder regions attend to the text, and the text to the regions; keys and values of
   the one are fused with a summary of the other.
4. A gate, 0 or 1, lets the picture in if it matches the text; mismatched pairs of the batch teach it.
5. A bidirectional LSTM reads the text's states; the shared head reads its own.

==================================  ==========================  ====================================
paper                               here                        shape
==================================  ==========================  ====================================
regions (Equation 1)                `MLNet.read_pictures`       (batch, regions, hidden)
words and characters (Section 3.2)  `MLNet.read_text`           (batch, tokens, hidden)
attention (Equations 2, 3)          `RegionLayer`               (batch, regions, hidden)
fused keys and values               `FusedAttention`            (batch, queries, hidden)
cross-attention layer (Figure 4)    `FusionLayer`               (batch, tokens or regions, hidden)
match, G (Equation 8)               `Match`, `MLNet.gate`       (batch,)
BiLSTM (Section 3.3)                `BiLSTM`                    (batch, tokens, 2 * lstm_size)
                                    (`mmie.blocks.recurrent`)
==================================  ==========================  ====================================

Pretraining (Equations 4 to 7) is `mmie.methods.mlnet_pretraining`; ``init_from`` takes its checkpoint.

**Departures.** The paper gives ResNet-18 and 2048 channels, which exclude each other: ``vision_backbone`` decides.
Fused keys and values pass through tanh: without it a summary adds the same to all scores of a query, and fusing keys
does nothing. Within a layer regions read the text first, then the text reads them, so that no part is left without
effect; the text's part is scaled by a number that starts at 0, so that training starts at the plain text encoder.
G passes its gradient on as if it were the score. A mismatch weighs half of a match in the loss that teaches it:
weighed alike, whether a picture comes in would be a toss wherever text and picture do not tell. Posts that share a
picture are no mismatch.
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
from mmie.blocks.weights import zero_loss_for_unused
from mmie.methods import papers
from mmie.methods.inspection import inspecting
from mmie.methods.multimodal import MultimodalModule
from mmie.types import Batch, Encoding, Schema

Fusion = Literal["early", "late"]
_THRESHOLD = 0.5  # of Equation 8
_MISMATCH_WEIGHT = 0.5  # so that the best score of a picture that says nothing is 2/3: it is let in
_OPEN = math.log(1 / _MISMATCH_WEIGHT)  # initial bias of the score, which makes it 2/3


class MLNet(MultimodalModule):
    """Multi-level multimodal network.

    Args:
        schema: What the data module says of the data; the command line links it.
        vision_backbone: Name of a ``timm`` model, or local folder of one.
        visual_layers: Layers of the transformer over regions.
        fusion_layers: Last layers of the text encoder in which picture and text meet.
        fusion: ``early`` meets there, ``late`` once after the last layer ("w/o Fus.").
        char_embedding: Read the characters of words; false leaves word pieces alone ("w/o Mtla.").
        match_weight: Weight of the loss that teaches the gate.
        lstm_size: Width of the LSTM's states in each direction.
        lstm_dropout: Dropout before and after the LSTM.
        **shared: See `MultimodalModule` and `ExtractionModule`.

    Raises:
        ValueError: A number of layers does not fit the text encoder, or the encoder is not built like BERT.
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
        hidden, heads = self.text.hidden_size, self.text.num_heads
        self.num_fused = _num_fused(fusion, fusion_layers, len(text_layers(self.text)))
        self.match_weight = match_weight
        self.region_map = nn.Linear(self.vision.channels[-1], hidden)
        self.region_layers = nn.ModuleList(RegionLayer(hidden, heads) for _ in range(visual_layers))
        self.characters = CharacterEncoder(hidden) if char_embedding else None
        self.match = Match(hidden)
        self.fusions = nn.ModuleList(
            FusionLayer(hidden, heads) for _ in range(max(1, self.num_fused))
        )
        self.bilstm = BiLSTM(hidden, lstm_size, lstm_dropout)
        self.set_head(2 * lstm_size)

    def head_modules(self) -> list[nn.Module]:
        """Parts that train at ``head_lr``."""
        return [self.head, self.bilstm]

    def encode(self, batch: Batch) -> Encoding:
        """Sections 3.1 to 3.3."""
        text = self.read_text(batch)  # (batch, tokens, hidden)
        regions = self.read_pictures(self.grid(batch), batch) if len(batch.readable) else None
        losses = {}
        if self.training and self.match_weight:
            losses["match"] = self.match_weight * self.match_loss(text, regions, batch)
        states = (
            self.upper_text_layers(text, batch)
            if regions is None
            else self.fuse(text, regions, batch)[0]
        )
        return Encoding(self.bilstm(states, batch.attention_mask), losses)

    def grid(self, batch: Batch) -> Tensor:
        """Features of all regions, the views one after another, (batch, regions, channels)."""
        (grid,) = self.encode_images(batch)  # (batch, views, channels, height, width)
        return grid.flatten(3).transpose(2, 3).flatten(1, 2)

    def region_mask(self, regions: Tensor, batch: Batch) -> Tensor:
        """Regions of readable views, (batch, regions) bool."""
        return batch.view_mask.repeat_interleave(
            regions.shape[1] // batch.view_mask.shape[1], dim=1
        )

    def read_pictures(self, grid: Tensor, batch: Batch) -> Tensor:
        """v_I = tanh(W_I v + b_I) (Equation 1), then the regions' own layers; (batch, regions, hidden)."""
        mask = self.region_mask(grid, batch)
        regions = torch.tanh(self.region_map(grid))
        for layer in self.region_layers:
            regions = layer(regions, mask)
        return regions

    def read_text(self, batch: Batch) -> Tensor:
        """Words and characters through the layers below the fusion, (batch, tokens, hidden)."""
        states = embed_text(
            self.text, batch.input_ids, batch.token_type_ids, self.embed_characters(batch)
        )
        mask = layer_mask(self.text, states, batch.attention_mask)
        layers = text_layers(self.text)
        for layer in layers[: len(layers) - self.num_fused]:
            states = layer(states, mask)
        return states

    def upper_text_layers(self, text: Tensor, batch: Batch) -> Tensor:
        """The text through the layers of the fusion without any picture, as G = 0 has it, (batch, tokens, hidden)."""
        mask = layer_mask(self.text, text, batch.attention_mask)
        layers = text_layers(self.text)
        for layer in layers[len(layers) - self.num_fused :]:
            text = layer(text, mask)
        return text + zero_loss_for_unused(
            self.vision, self.region_map, self.region_layers, self.match, self.fusions
        )

    def embed_characters(self, batch: Batch) -> Tensor | None:
        """For every piece the vector of its word's characters, (batch, tokens, hidden); 0 on what is no word."""
        if self.characters is None:
            return None
        words = self.characters(batch.characters)  # (batch, words, hidden)
        places = batch.token_words.clamp(min=0).unsqueeze(-1).expand(-1, -1, words.shape[-1])
        spelled: Tensor = words.gather(1, places) * batch.text_mask.unsqueeze(-1)
        return spelled

    def fuse(self, text: Tensor, regions: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """States of text (batch, tokens, hidden) and regions (batch, regions, hidden) after the layers that fuse."""
        gate = self.gate(text, regions, batch)
        masks = (batch.attention_mask, self.region_mask(regions, batch))
        attention_mask = layer_mask(self.text, text, batch.attention_mask)
        layers = text_layers(self.text)
        upper: Sequence[nn.Module | None] = (
            layers[len(layers) - self.num_fused :] if self.num_fused else [None]
        )
        for layer, fusion in zip(upper, self.fusions, strict=True):
            inputs = (layer, attention_mask, fusion, text, regions, *masks, gate)
            if self.training and getattr(layer, "gradient_checkpointing", False):
                text, regions = checkpoint(_fused_layer, *inputs, use_reentrant=False)
            else:
                text, regions = _fused_layer(*inputs)
        return text, regions

    def gate(self, text: Tensor, regions: Tensor, batch: Batch) -> Tensor:
        """G = 1 if sigmoid(LN(text, image)) > 0.5, else 0 (Equation 8), (batch,); 0 without a picture.

        Its gradient is the sigmoid's (Bengio et al., Estimating or Propagating Gradients, 2013).
        """
        pooled = self.summaries(text, regions, batch)
        score = torch.sigmoid(self.match(*pooled))
        return ((score > _THRESHOLD).to(score) + (score - score.detach())) * batch.view_mask.any(1)

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """What `ExtractionModule.diagnose` gives, and ``match``.

        ===== ======== ===================================================================
        match (batch,) score of the picture; it comes in above 0.5; 0 without a picture
        ===== ======== ===================================================================
        """
        with inspecting(self):
            text, regions = self.read_text(batch), self.read_pictures(self.grid(batch), batch)
            score = torch.sigmoid(self.match(*self.summaries(text, regions, batch)))
            return {**super().diagnose(batch), "match": score * batch.view_mask.any(1)}

    def match_loss(self, text: Tensor, regions: Tensor | None, batch: Batch) -> Tensor:
        """Cross-entropy of the match score: each post with its picture, and with the next picture; (), 0 if but one.

        A mismatch weighs half, so that the gate closes on evidence and not on a toss. Of several processes, each
        compares the posts of all.

        Args:
            text: (batch, tokens, hidden) before the fusion.
            regions: (batch, regions, hidden) before the fusion; None if the batch has no picture.
            batch: Its posts without pictures take no part.
        """
        is_seen = all_gather_rows(batch.view_mask.any(1))  # (posts,), of all processes
        words, pictures = (
            all_gather_rows(rows) for rows in self.summaries(text, regions, batch)
        )  # (posts, hidden) each
        others = pictures[_next_seen(is_seen)]
        scores = torch.stack(
            [self.match(words, pictures), self.match(words, others)]
        ).float()  # (2, posts)
        labels = torch.stack([torch.ones_like(scores[0]), torch.zeros_like(scores[0])])
        is_mismatch = ~torch.isclose(pictures, others).all(1)  # (posts,)
        weights = is_seen * torch.stack(
            [torch.ones_like(scores[0]), _MISMATCH_WEIGHT * is_mismatch]
        )
        total = functional.binary_cross_entropy_with_logits(
            scores, labels, weights, reduction="sum"
        )
        return total / weights.sum().clamp(min=1) * (is_seen.sum() > 1)

    def summaries(
        self, text: Tensor, regions: Tensor | None, batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """Mean states of tokens and of regions, (batch, hidden) each; 0 for regions that there are none of."""
        words = masked_mean(text, batch.attention_mask)
        if regions is None:
            return words, torch.zeros_like(words)
        return words, masked_mean(regions, self.region_mask(regions, batch))


def _next_seen(is_seen: Tensor) -> Tensor:
    """For each post with a picture (batch,) the place of the next one that has one, the first after the last."""
    order = is_seen.logical_not().argsort(stable=True)  # those with pictures first
    rank = order.argsort()  # (batch,) place in that order
    return order[(rank + 1) % is_seen.sum().clamp(min=1)]


class Match(nn.Module):
    """LN(text, image) = w . (W_t t * W_v v) + b: the score before the sigmoid of Equation 8.

    The product lets the score of a picture depend on the text. Pictures are let in at the start.

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
        """(batch, hidden), (batch, hidden) -> (batch,)."""
        scores: Tensor = self.score(self.text(text) * self.picture(pictures)).squeeze(-1)
        return scores


class FusedAttention(nn.Module):
    """Multi-head attention (Equations 2, 3) to K = tanh(W_K m + U_K s), V = tanh(W_V m + U_V s).

    m is the other modality, s the summary of the one that asks. 0 where nothing may be attended to.

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
        """Attend from ``states`` to ``memory``.

        Args:
            states: (batch, queries, hidden)
            mask: (batch, queries) bool, True on what the summary is the mean of.
            memory: (batch, positions, hidden)
            memory_mask: (batch, positions) bool, True on positions that may be attended to.

        Returns:
            (batch, queries, hidden)
        """
        summary = masked_mean(states, mask).unsqueeze(1)  # (batch, 1, hidden)
        keys, values = torch.tanh(self.pair(memory) + self.pair_summary(summary)).chunk(2, dim=-1)
        attended = attend_heads(self.query(states), keys, values, memory_mask, self.num_heads)
        result: Tensor = self.output(attended) * memory_mask.any(-1)[:, None, None]
        return result


class FusionLayer(nn.Module):
    """Regions read the text, v' = Norm(v + A(v, t)), and the text the regions, t' = t + G c A(t, v').

    c is a number that starts at 0.

    Args:
        hidden_size: Width of text and regions.
        num_heads: Attention heads.
    """

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.regions_to_text = FusedAttention(hidden_size, num_heads)
        self.norm = nn.LayerNorm(hidden_size)
        self.text_to_regions = FusedAttention(hidden_size, num_heads)
        self.scale = nn.Parameter(torch.zeros(hidden_size))

    def forward(
        self, text: Tensor, regions: Tensor, text_mask: Tensor, region_mask: Tensor, gate: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Text (batch, tokens, hidden) and regions (batch, regions, hidden); ``gate`` is (batch,)."""
        regions = self.norm(regions + self.regions_to_text(regions, region_mask, text, text_mask))
        seen = self.text_to_regions(text, text_mask, regions, region_mask)
        return text + gate[:, None, None] * self.scale * seen, regions


class RegionLayer(nn.Module):
    """A transformer layer over regions: attention (Equations 2, 3) and two linear maps, each added and normalised.

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
        """(batch, regions, hidden), (batch, regions) bool -> (batch, regions, hidden)."""
        attended = self.norm_attention(regions + self.attention(regions, regions, mask))
        result: Tensor = self.norm(attended + self.feed_forward(attended))
        return result


def _fused_layer(
    layer: Any,
    attention_mask: Tensor | None,
    fusion: nn.Module,
    text: Tensor,
    *rest: Tensor,
) -> tuple[Tensor, Tensor]:
    """A text layer with the fusion between its attention and its feed-forward part; ``rest`` is the fusion's."""
    attended = text if layer is None else layer.attention(text, attention_mask)[0]
    fused, regions = fusion(attended, *rest)
    return (fused if layer is None else layer.feed_forward_chunk(fused)), regions


def _num_fused(fusion: str, fusion_layers: int, num_layers: int) -> int:
    """Text layers that fuse: the last ``fusion_layers``, or none in late fusion."""
    if fusion not in ("early", "late"):
        raise ValueError(f"fusion is {fusion!r}: expected early or late")
    if not 1 <= fusion_layers <= num_layers:
        raise ValueError(
            f"fusion_layers is {fusion_layers}: expected 1 to {num_layers}, the text encoder's layers"
        )
    return fusion_layers if fusion == "early" else 0
