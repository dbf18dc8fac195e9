"""MLNet: picture and text attend to each other inside the text encoder, behind a hard gate.

Zhai, Lv, Hou, Tong, Bu, MLNet: a multi-level multimodal named entity recognition architecture,
Frontiers in Neurorobotics 17, 2023, https://doi.org/10.3389/fnbot.2023.1181143

1. The last map of a frozen ResNet gives the regions of every view. A small transformer reads them.
2. An LSTM reads the characters of every word. Its vector is added to the embeddings of the word's
   pieces.
3. In every layer of the text encoder regions attend to the text, and the text to the regions. The
   keys and values of one are fused with a summary of the other.
4. In each of these layers a gate, 0 or 1, reads the fused keys and values and admits the picture if
   it matches the text.
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
match LN (Equation 8)               `FusionLayer.match_score`      (batch,)
G (Equation 8)                      `hard_gate`                    (batch,)
BiLSTM (Section 3.3)                `BiLSTM`                       (batch, tokens, 2 * lstm_size)
                                    (`mmie.blocks.recurrent`)
CRF (Equations 9 to 12)             `ConstrainedCRF`               (batch, words)
                                    (`mmie.blocks.crf`)
==================================  =============================  =================================

Pretraining (Equations 4 to 7) is `mmie.methods.mlnet_pretraining`. The paper's scores are those of
a fit with ``init_from`` set to the checkpoint of a pretraining on the same corpus.

**Departures.**

Network:

- The paper gives ResNet-18 and 2048 channels, which exclude each other. Here ``vision_backbone``
  decides, and the default is ResNet-18 with its 512 channels. The backbone is frozen.
- The paper does not say how many objects a post has. The configurations take three. Crops are those
  that were published with HVPNet.
- The transformer of the regions has 2 layers instead of 12, to save time (``visual_layers``). It
  starts from random weights, and regions have no position and no view embedding.
- The paper speaks of "a cross-attention layer" and of interaction "in the whole Transformer stack".
  Here one stands between the self-attention and the feed-forward part of every layer of the text
  encoder (``fusion_layers``).
- Keys and values of text and regions differ in number, so that they cannot be joined one by one.
  Each is fused with the mean state of the other side.
- Fused keys and values pass through tanh. Without it a summary would add the same number to all
  scores of a query, and fusing keys would have no effect.
- Within a layer regions attend to the text first, then the text to them, so that every part has an
  effect. The text's part is scaled by a vector that starts at 0.1, so that training starts close
  to the plain text encoder. From 0, the regions get nearly no gradient, and at learning rates of
  5e-4 they became the same for all pictures before the vector had grown.
- LN of Equation 8 has one linear map of its own in each layer, of the mean fused keys and values of
  both sides (``gate: once`` has one score for all layers, of the products of both summaries before
  any fusion). What the regions receive has no gate.
- The gradient of G is that of the sigmoid. The bias of a score starts at ln 2, so that all gates
  are open at first.
- "Basic RNN" over characters: a bidirectional LSTM over UTF-8 bytes with 50 units in each
  direction. Its vectors are added to the pieces' embeddings through a map that starts at 0. The
  paper does not say how the two are joined.
- The LSTM's 200 units are read as 200 in each direction.
- The head has no dropout of its own, since the LSTM's output has one.
- The denominators of Equations 10 and 11 lack exp, a misprint. The CRF excludes tag sequences that
  BIO does not allow.
- Relation extraction, which is not in the paper, classifies the LSTM's states at the entities.

Training:

- The paper's loss of a fine-tuning is the CRF's. ``match_weight`` adds a loss that trains the gates
  where there was no pretraining, as in the demo's configuration. A mismatch has half the weight of
  a match in it. With equal weights a gate would be at chance wherever text and picture do not
  decide. Posts that share a picture are no mismatch. Mismatched pictures do not train the backbone.
- AdamW with a weight decay of 0.01, spared on biases, norms and embeddings, instead of Adam.
- The learning rate 0.001 is the paper's for LSTM and CRF (``head_lr``). The rates of the text
  encoder (``text_lr``, 3e-5) and of the other layers (``fusion_lr``, 1e-4) are ours.
- Learning rates rise in the first tenth of the steps and then fall linearly to 0. The paper names
  no schedule.
- The paper names no number of epochs. The configurations take 30 (15 for MNRE).
- Posts of similar length share a batch. The epoch is selected by validation F1.
- The configuration of the demo corpus has a smaller LSTM, less dropout and its own learning rates.

Beyond the paper, which has one picture:

- Further pictures (``data.num_images``) give regions like the first one and the crops. Regions have
  no view embedding, so that the network cannot tell pictures from crops.

As in the paper: batches of 64, 128 tokens at most, tags in BIO, views of 224 x 224 pixels without
regard to proportions, dropout of 0.5 before and after the LSTM.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mmie.blocks.all_gather import all_gather_rows
from mmie.blocks.attention import MultiHeadAttention, attend_heads, masked_mean
from mmie.blocks.precision import at_least_float32
from mmie.blocks.recurrent import BiLSTM, CharacterEncoder
from mmie.blocks.text_layers import embed_text, layer_mask, text_layers
from mmie.blocks.vision import VisualOutput
from mmie.blocks.weights import zero_for_unused
from mmie.methods import papers
from mmie.methods.inspection import inspecting
from mmie.methods.multimodal import MultimodalModule
from mmie.types import Batch, Encoding, Schema
from mmie.utils.distributed import rank_and_world_size

Fusion = Literal["early", "late"]
GateMode = Literal["per_layer", "once"]
_THRESHOLD = 0.5  # of Equation 8
# with it, the best score of a picture that does not show whether it matches is 2/3: it is admitted
_MISMATCH_WEIGHT = 0.5
_FIRST_SCALE = 0.1
"""Initial value of c, the scale of what the text receives from the regions."""
_OPEN = math.log(1 / _MISMATCH_WEIGHT)  # initial bias of the score, whose sigmoid is 2/3
_UPGRADED = {"gate": "once", "fusion_layers": 6, "match_weight": 0.1}
"""Defaults of the version without ``gate``."""


class Fused(NamedTuple):
    """Result of the text layers of the fusion.

    Attributes:
        text: (batch, tokens, hidden)
        regions: (batch, regions, hidden)
        scores: (batch, gates) LN(text, image) of Equation 8, before the sigmoid.
    """

    text: Tensor
    regions: Tensor
    scores: Tensor


class MLNet(MultimodalModule):
    """Multi-level multimodal network.

    Args:
        schema: Description of the data. The command line links it from the data module.
        vision_backbone: Name of a ``timm`` model, or local folder of one.
        visual_layers: Layers of the transformer over regions.
        fusion_layers: Last layers of the text encoder in which picture and text are fused, None
            for all. The paper's "w/o Fus." fuses in the last one.
        fusion: ``early`` fuses in these layers, ``late`` once after the last layer, which is
            another reading of "w/o Fus.".
        gate: ``per_layer`` scores the match in each of these layers by its fused keys and values,
            ``once`` before the first one by the means of text and regions.
        char_embedding: Add the characters of words. False leaves word pieces alone ("w/o Mtla.").
        match_weight: Weight of a loss that trains the gates. It takes a second pass of the text
            encoder in training, unless ``gate`` is ``once``.
        lstm_size: Width of the LSTM's states in each direction.
        lstm_dropout: Dropout before and after the LSTM.
        **shared: See `MultimodalModule` and `ExtractionModule`.

    Raises:
        ValueError: ``fusion``, ``gate`` or ``fusion_layers`` is out of range, or the text encoder
            is not built like BERT.
    """

    paper = papers.MLNET
    vision_output: ClassVar[VisualOutput] = "grid"

    def __init__(
        self,
        schema: Schema,
        vision_backbone: str = "resnet18",
        visual_layers: int = 2,
        fusion_layers: int | None = None,
        fusion: Fusion = "early",
        char_embedding: bool = True,
        match_weight: float = 0.0,
        lstm_size: int = 200,
        lstm_dropout: float = 0.5,
        gate: GateMode = "per_layer",
        **shared: Any,
    ) -> None:
        super().__init__(schema, vision_backbone=vision_backbone, **shared)
        hidden_size, num_heads = self.text.hidden_size, self.text.num_heads
        if gate not in ("per_layer", "once"):
            raise ValueError(f"gate is {gate!r}: expected per_layer or once")
        self.num_fused = _num_fused(fusion, fusion_layers, len(text_layers(self.text)))
        self.match_weight = match_weight
        self.region_map = nn.Linear(self.vision.channels[-1], hidden_size)
        self.region_layers = nn.ModuleList(
            RegionLayer(hidden_size, num_heads) for _ in range(visual_layers)
        )
        self.characters = CharacterEncoder(hidden_size) if char_embedding else None
        self.match = Match(hidden_size) if gate == "once" else None
        self.fusions = nn.ModuleList(
            FusionLayer(hidden_size, num_heads, has_score=gate == "per_layer")
            for _ in range(max(1, self.num_fused))
        )
        self.bilstm = BiLSTM(hidden_size, lstm_size, lstm_dropout)
        self.set_head(2 * lstm_size)

    @classmethod
    def upgrade_init_args(
        cls, init_args: dict[str, Any], state_dict: Mapping[str, Tensor]
    ) -> dict[str, Any]:
        """Return the constructor arguments of a checkpoint for this version of the method."""
        is_older = "match.score.weight" in state_dict and "gate" not in init_args
        return {**_UPGRADED, **init_args} if is_older else init_args

    def head_modules(self) -> list[nn.Module]:
        """Return the parts that train at ``head_lr``."""
        return [self.head, self.bilstm]

    def encode(self, batch: Batch) -> Encoding:
        """Fuse text and regions in the text layers, then run the BiLSTM (Section 3)."""
        text = self.lower_text_layers(batch)  # (batch, tokens, hidden)
        compares = self.training and self.match_weight > 0
        losses = {}
        # a graph fits posts with and without readable views
        if compares or torch.compiler.is_exporting() or len(batch.readable):
            grid = self.region_grid(batch)  # (batch, regions, channels)
            states, _, scores = self.fuse(text, self.encode_regions(grid, batch), batch)
            if compares:
                loss = self.match_loss(text, grid, scores, batch)
                losses["match"] = self.match_weight * loss
        else:
            states = self.upper_text_layers(text, batch)  # (batch, tokens, hidden)
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
        unused = [self.vision, self.region_map, self.region_layers, self.fusions]
        if self.match is not None:
            unused.append(self.match)
        return text + zero_for_unused(*unused)

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

    def fuse(self, text: Tensor, regions: Tensor, batch: Batch) -> Fused:
        """Run the text layers of the fusion with the gated picture.

        Args:
            text: (batch, tokens, hidden)
            regions: (batch, regions, hidden)
            batch: The posts.
        """
        score = None  # (batch,), if there is one for all layers
        if self.match is not None:
            score = self.match(*self.summaries(text, regions, batch))
        region_mask = self.region_mask(regions, batch)  # (batch, regions)
        attention_mask = layer_mask(self.text, text, batch.attention_mask)
        layers = text_layers(self.text)
        upper: Sequence[nn.Module | None] = [None]
        if self.num_fused:
            upper = layers[len(layers) - self.num_fused :]
        scores = []
        for layer, fusion in zip(upper, self.fusions, strict=True):
            inputs = (text, regions, batch.attention_mask, region_mask, score)
            if self.training and getattr(layer, "gradient_checkpointing", False):
                text, regions, layer_score = checkpoint(
                    _fused_layer, layer, attention_mask, fusion, *inputs, use_reentrant=False
                )
            else:
                text, regions, layer_score = _fused_layer(layer, attention_mask, fusion, *inputs)
            scores.append(layer_score)
        gates = scores if score is None else [score]
        return Fused(text, regions, torch.stack(gates, dim=1))

    def match_scores(self, text: Tensor, regions: Tensor, batch: Batch) -> Tensor:
        """Compute LN(text, image) of Equation 8 for every gate.

        Args:
            text: (batch, tokens, hidden) before the fusion.
            regions: (batch, regions, hidden) before the fusion.
            batch: The posts.

        Returns:
            (batch, gates), before the sigmoid.
        """
        if self.match is None:
            return self.fuse(text, regions, batch).scores
        scores: Tensor = self.match(*self.summaries(text, regions, batch))  # (batch,)
        return scores.unsqueeze(1)

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """Add ``match`` to the numbers of `ExtractionModule.diagnose`.

        ===== ======== =============================================================================
        match (batch,) score of the picture, mean over the gates; a gate opens above 0.5; 0 without
                       a picture
        ===== ======== =============================================================================
        """
        with inspecting(self):
            text = self.lower_text_layers(batch)  # (batch, tokens, hidden)
            regions = self.encode_regions(self.region_grid(batch), batch)
            scores = self.match_scores(text, regions, batch)  # (batch, gates)
            match = scores.sigmoid().mean(1) * batch.view_mask.any(1)  # (batch,)
            return {**super().diagnose(batch), "match": match}

    def match_loss(self, text: Tensor, grid: Tensor, scores: Tensor, batch: Batch) -> Tensor:
        """Compute the cross-entropy of match scores: posts with their own and the next picture.

        It is the mean over the gates. A mismatched pair runs through the fusion as a pair of its
        own, since text that has read its own picture would give it away. A mismatch has half the
        weight of a match, so that gates close on evidence and not by chance. With several
        processes, each compares its posts with the pictures of all.

        Args:
            text: (batch, tokens, hidden) before the fusion.
            grid: (batch, regions, channels) of the backbone.
            scores: (batch, gates) of the posts with their own pictures.
            batch: The posts. Those without pictures take no part.

        Returns:
            (), 0 with fewer than two pictures.
        """
        rank, world_size = rank_and_world_size()
        has_picture = batch.view_mask.any(1)  # (batch,)
        has_pictures = all_gather_rows(has_picture)  # (posts,)
        other = _next_with_picture(has_pictures)[rank::world_size]  # (batch,) index of a post
        other_grid = all_gather_rows(grid.detach())[other]  # (batch, regions, channels)
        mask = all_gather_rows(batch.view_mask)[other]  # (batch, views)
        pairs = replace(batch, view_mask=mask)
        regions = self.encode_regions(other_grid, pairs)  # (batch, regions, hidden)
        other_scores = self.match_scores(text, regions, pairs)  # (batch, gates)
        is_same = torch.isclose(grid, other_grid).flatten(1).all(1)  # (batch,)
        is_mismatch = ~is_same | (mask != batch.view_mask).any(1)  # (batch,)
        ones = torch.ones_like(scores)  # (batch, gates)
        weights = torch.stack([has_picture.float(), _MISMATCH_WEIGHT * (has_picture & is_mismatch)])
        total = functional.binary_cross_entropy_with_logits(
            torch.stack([scores, other_scores]),  # (2, batch, gates)
            torch.stack([ones, torch.zeros_like(ones)]),
            weights.to(scores.dtype).unsqueeze(-1),  # (2, batch, 1)
            reduction="sum",
        )
        total_weight = all_gather_rows(weights.T).sum().clamp(min=1)  # () of all processes
        # DDP takes the mean over the processes
        share = world_size * total / (total_weight * scores.shape[1])
        return share * (has_pictures.sum() > 1)

    def summaries(self, text: Tensor, regions: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Compute the mean state of a post's tokens and that of its regions.

        Args:
            text: (batch, tokens, hidden)
            regions: (batch, regions, hidden)
            batch: The posts.

        Returns:
            (batch, hidden) each, 0 for the regions of a post without a picture.
        """
        words = masked_mean(text, batch.attention_mask)  # (batch, hidden)
        return words, masked_mean(regions, self.region_mask(regions, batch))


def hard_gate(scores: Tensor) -> Tensor:
    """Compute G = 1 if sigmoid(LN(text, image)) > 0.5, else 0 (Equation 8).

    The gradient of G is that of the sigmoid (straight-through: Bengio et al., Estimating or
    Propagating Gradients Through Stochastic Neurons, 2013).

    Args:
        scores: LN(text, image), of any shape.

    Returns:
        In the shape of the scores.
    """
    share = scores.sigmoid()
    is_open = (share > _THRESHOLD).to(share)
    return is_open + (share - share.detach())


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
    """Score of a picture for a text before any fusion, before the sigmoid of Equation 8.

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
        """Compute w . (W_t t * W_v v) + b in float32, also under autocast.

        Args:
            text: (batch, hidden) t.
            pictures: (batch, hidden) v.

        Returns:
            (batch,)
        """
        with torch.autocast(text.device.type, enabled=False):
            text, pictures = at_least_float32(text), at_least_float32(pictures)
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

    def forward(
        self, states: Tensor, mask: Tensor, memory: Tensor, memory_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute MHA(Q, K, V) (Equations 2, 3) from ``states`` to ``memory``.

        K = tanh(W_K m + U_K s) and V = tanh(W_V m + U_V s) for a memory m and the mean s of the
        states.

        Args:
            states: (batch, queries, hidden)
            mask: (batch, queries) bool, True on the states that s is the mean of.
            memory: (batch, positions, hidden) m.
            memory_mask: (batch, positions) bool, True on positions that may be attended to.

        Returns:
            The result (batch, queries, hidden), 0 if no position may be attended to, and K and V
            side by side, (batch, positions, 2 * hidden).
        """
        summary = masked_mean(states, mask).unsqueeze(1)  # (batch, 1, hidden)
        pairs = torch.tanh(self.pair(memory) + self.pair_summary(summary))
        keys, values = pairs.chunk(2, dim=-1)  # (batch, positions, hidden) each
        attended = attend_heads(self.query(states), keys, values, memory_mask, self.num_heads)
        result = self.output(attended) * memory_mask.any(-1)[:, None, None]
        return result, pairs


class FusionLayer(nn.Module):
    """Cross-attention of regions to the text, then of the text to the regions (Figure 4).

    Args:
        hidden_size: Width of text and regions.
        num_heads: Attention heads.
        has_score: Compute the score of the gate in this layer.
    """

    def __init__(self, hidden_size: int, num_heads: int, has_score: bool = True) -> None:
        super().__init__()
        self.regions_to_text = FusedAttention(hidden_size, num_heads)
        self.norm = nn.LayerNorm(hidden_size)
        self.text_to_regions = FusedAttention(hidden_size, num_heads)
        self.scale = nn.Parameter(torch.full((hidden_size,), _FIRST_SCALE))  # c
        self.score = nn.Linear(4 * hidden_size, 1) if has_score else None
        if self.score is not None:
            nn.init.constant_(self.score.bias, _OPEN)

    def forward(
        self,
        text: Tensor,
        regions: Tensor,
        text_mask: Tensor,
        region_mask: Tensor,
        score: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute v' = Norm(v + A(v, t)) and t' = t + G c A(t, v'), where G = 0 without regions.

        Args:
            text: (batch, tokens, hidden) t.
            regions: (batch, regions, hidden) v.
            text_mask: (batch, tokens) bool
            region_mask: (batch, regions) bool
            score: (batch,) score of the gate, for a layer that computes none.

        Returns:
            Text (batch, tokens, hidden), regions (batch, regions, hidden) and the score (batch,).
        """
        attended, text_pairs = self.regions_to_text(regions, region_mask, text, text_mask)
        regions = self.norm(regions + attended)  # (batch, regions, hidden)
        visual, region_pairs = self.text_to_regions(text, text_mask, regions, region_mask)
        if score is None:
            score = self.match_score(text_pairs, text_mask, region_pairs, region_mask)
        gate = hard_gate(score) * region_mask.any(1)  # (batch,)
        return text + gate[:, None, None] * self.scale * visual, regions, score

    def match_score(
        self, text_pairs: Tensor, text_mask: Tensor, region_pairs: Tensor, region_mask: Tensor
    ) -> Tensor:
        """Compute LN(text, image) of Equation 8 in float32, also under autocast.

        LN(text, image) = w . [mean K_T ; mean V_T ; mean K_I ; mean V_I] + b.

        Args:
            text_pairs: (batch, tokens, 2 * hidden) K_T and V_T.
            text_mask: (batch, tokens) bool
            region_pairs: (batch, regions, 2 * hidden) K_I and V_I.
            region_mask: (batch, regions) bool

        Returns:
            (batch,)

        Raises:
            RuntimeError: The layer was built without a score.
        """
        if self.score is None:
            raise RuntimeError("the layer computes no score: pass one to forward")
        with torch.autocast(text_pairs.device.type, enabled=False):
            text = masked_mean(at_least_float32(text_pairs), text_mask)  # (batch, 2 * hidden)
            regions = masked_mean(at_least_float32(region_pairs), region_mask)
            score: Tensor = self.score(torch.cat([text, regions], dim=-1)).squeeze(-1)
            return score


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
    *fusion_inputs: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a text layer with the fusion between its attention and its feed-forward part.

    Args:
        layer: The text layer, None for the fusion alone.
        attention_mask: The layer's mask.
        fusion: The fusion.
        text: (batch, tokens, hidden)
        *fusion_inputs: All inputs of the fusion but the text.

    Returns:
        Text (batch, tokens, hidden), regions (batch, regions, hidden) and the score (batch,).
    """
    attended = text if layer is None else layer.attention(text, attention_mask)[0]
    fused, regions, score = fusion(attended, *fusion_inputs)
    return (fused if layer is None else layer.feed_forward_chunk(fused)), regions, score


def _num_fused(fusion: str, fusion_layers: int | None, num_layers: int) -> int:
    """Return the number of text layers that fuse: ``fusion_layers`` or all, 0 in late fusion.

    Raises:
        ValueError: ``fusion`` is unknown, or ``fusion_layers`` is not a number of layers.
    """
    if fusion not in ("early", "late"):
        raise ValueError(f"fusion is {fusion!r}: expected early or late")
    if fusion_layers is None:
        fusion_layers = num_layers
    if not 1 <= fusion_layers <= num_layers:
        raise ValueError(
            f"fusion_layers is {fusion_layers}: expected 1 to {num_layers}, the text encoder's "
            "layers"
        )
    return fusion_layers if fusion == "early" else 0
