"""IMM: implicit modality mining, a picture as patches that pass through the text encoder's own layers.

Lu and Guo, Implicit Modality Mining: An End-to-End Method for Multimodal Information Extraction,
Journal of Electronic Research and Application, March 2024

1. The global picture becomes a start token and a linear projection of its patches; no crops, no visual backbone.
2. ISA: in the first layers text and patches pass, each by itself, through the same attention and norms, and through
   a feed-forward of their own.
3. SW loss: over the batch, texts and pictures must match as CLIP says, as a whole and between words and patches.
4. IA: in the other layers each text token picks visual knowledge, which joins the feed-forward as hidden units.
5. The shared head reads the text states.

=====================================  ================================  ======================================
paper                                  here                              shape
=====================================  ================================  ======================================
T (Equation 1)                         `mmie.blocks.text_layers`         (batch, tokens, hidden)
V (Equation 2)                         `PatchEmbedding`                  (pictures, 1 + patches, hidden)
ISA block (Equations 3, 4)             `IMM.align`                       those two
P (Equation 5)                         `IMM.similarity`                  (batch, batch)
p, q, one direction (Equations 6-11)   `mmie.blocks.matching`            ()
both directions (Equations 12, 13)     `matching_loss`                   ()
L_SW (Equation 14)                     `IMM.semantic_loss`               ()
S, k (Equations 16-18)                 `KnowledgeSlots.select`           (batch, tokens, hidden)
Activation-FFN (Equations 15, 19-21)   `KnowledgeSlots`, `IMM.activate`  (batch, tokens, hidden)
=====================================  ================================  ======================================

**Departures.** The paper's blocks are pre-norm; BERT's weights are post-norm, and read as pre-norm lose what they
know: ``norm: pre`` computes the paper's, each sub-layer behind the norm whose output it has always read. Matching
compares cos / ``temperature``, since plain dot products of wide vectors make p one-hot. Patch vectors pass a norm, as
BERT's own embeddings do. phi_v starts at 0, so that training starts at the text encoder; phi_k starts so that a
token and a slot score about 1. The last visual block ends before its feed-forward, which nothing would read.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mmie.blocks.all_gather import all_gather_rows
from mmie.blocks.attention import masked_mean
from mmie.blocks.augmentation import random_resized_crops
from mmie.blocks.clip import ClipVectors, clip_identity
from mmie.blocks.features import FeatureSpec
from mmie.blocks.matching import matching_loss
from mmie.blocks.patch_embedding import PatchEmbedding
from mmie.blocks.text_layers import embed_text, layer_mask, text_layers
from mmie.blocks.weights import trainable_copy, zero_loss_for_unused
from mmie.methods import papers
from mmie.methods.base import ExtractionModule
from mmie.methods.inspection import inspecting
from mmie.types import Batch, Encoding, MmieError, Schema
from mmie.utils.distributed import rank_and_world_size

Norm = Literal["post", "pre"]


class IMM(ExtractionModule):
    """Implicit semantic alignment and insert-activation; reads the global picture only.

    Args:
        schema: What the data module says of the data; the command line links it.
        num_shared_layers: Layers of the text encoder that form the ISA (L_VT), the others the IA; None halves them.
        norm: ``post`` keeps the norms where the text encoder's weights expect them; ``pre`` as in the paper. Test F1
            after one epoch from a pretrained encoder of 6 layers, pictures absent, ``post`` and ``pre``: Twitter-2017
            75.41 and 74.19, MNRE 51.93 and 21.00; on the demo corpus, from random weights, entities 83.54 and 78.92,
            relations 87.27 and 86.34.
        patch_size: Height and width of a patch in pixels.
        patch_embedding: A timm ViT, or local folder of one, whose patch projection, start token and positions are
            taken over where it is as wide as the text encoder; None starts them randomly.
        clip: Hub name or local folder of the CLIP model that says which texts and pictures match; its vectors are
            computed once and kept in the feature store. None takes a post's own picture as its only match.
        sw_loss: Train with the semantic-wise loss ("w/o SW").
        insert_activation: Insert visual knowledge into the feed-forwards ("w/o IA").
        sw_weight: Weight of the semantic-wise loss (gamma).
        alpha: Share of its sentence level.
        beta: Share of its word level.
        temperature: Divisor of the cosines that it compares (tau).
        **shared: See `ExtractionModule`.

    Raises:
        ValueError: A switch out of range, or a text encoder of another family than BERT's.
        WeightsUnavailable: The weights of ``patch_embedding`` are not to be had.
    """

    paper = papers.IMM

    def __init__(
        self,
        schema: Schema,
        num_shared_layers: int | None = None,
        norm: Norm = "post",
        patch_size: int = 32,
        patch_embedding: str | None = "vit_base_patch32_clip_224.openai",
        clip: str | None = None,
        sw_loss: bool = True,
        insert_activation: bool = True,
        sw_weight: float = 0.1,
        alpha: float = 0.5,
        beta: float = 0.5,
        temperature: float = 0.07,
        **shared: Any,
    ) -> None:
        super().__init__(schema, **shared)
        if norm not in get_args(Norm) or temperature <= 0:
            raise ValueError(
                f"norm is '{norm}', expected post or pre; temperature is {temperature}, expected above 0"
            )
        self.num_shared_layers = _count_shared(num_shared_layers, len(self.layers))
        self.is_pre_norm = norm == "pre"
        self.clip = clip
        self.sw_loss, self.insert_activation = sw_loss, insert_activation
        self.sw_weight, self.alpha, self.beta, self.temperature = (
            sw_weight,
            alpha,
            beta,
            temperature,
        )
        self.visual = None
        if sw_loss or insert_activation:
            source = patch_embedding if self.pretrained else None
            patches = PatchEmbedding(self.text, schema.image_size, patch_size, source)
            self.visual = VisualLayers(
                patches, self.layers, self.num_shared_layers, insert_activation
            )
        own = self.layers[self.num_shared_layers :] if insert_activation else []
        self.slots = nn.ModuleList(
            KnowledgeSlots(self.text.hidden_size, layer.intermediate) for layer in own
        )

    @property
    def layers(self) -> Any:
        """The layers of the text encoder."""
        return text_layers(self.text)

    def encode(self, batch: Batch) -> Encoding:
        """Sections 3.2 and 3.3."""
        text = embed_text(
            self.text, batch.input_ids, batch.token_type_ids
        )  # (batch, tokens, hidden)
        pictures = self.embed_pictures(batch)  # (batch or 2 * batch, 1 + patches, hidden)
        if pictures is None and self.visual is not None and self.training:
            text = text + zero_loss_for_unused(self.visual, self.slots)
        mask = layer_mask(self.text, text, batch.attention_mask)
        for index in range(self.num_shared_layers):
            text, pictures = self._run(self.align, index, text, pictures, mask)
        losses = {}
        if self.training and self.sw_loss:
            losses["sw"] = self.sw_weight * self.semantic_loss(text, pictures, batch)
        pictures = (
            pictures[: len(batch)] if pictures is not None and self.insert_activation else None
        )
        seen = batch.attention_mask & batch.view_mask[:, :1]  # (batch, tokens)
        for index in range(self.num_shared_layers, len(self.layers)):
            text, pictures = self._run(self.activate, index, text, pictures, mask, seen)
        return Encoding(
            self.layers[-1].output.LayerNorm(text) if self.is_pre_norm else text, losses
        )

    def feature_specs(self) -> list[FeatureSpec]:
        """CLIP's vectors of text and picture, if the SW loss asks for them; CLIP is loaded only to compute new ones."""
        if self.clip is None or not self.sw_loss:
            return []
        source, identity = self.clip, clip_identity(self.clip)
        loaded = cache(lambda: ClipVectors(source, self.device))
        return [
            FeatureSpec(
                "clip_text", "text", identity, lambda texts: loaded().texts(texts), True, True
            ),
            FeatureSpec(
                "clip_image",
                "picture",
                identity,
                lambda pixels: loaded().pictures(pixels),
                True,
                True,
            ),
        ]

    def embed_pictures(self, batch: Batch) -> Tensor | None:
        """V of the global pictures (Equation 2), under an SW loss followed by that of their augmented views.

        Returns:
            (batch or 2 * batch, 1 + patches, hidden); None where no state and no loss will need it.
        """
        if (
            self.visual is None
            or batch.pixels is None
            or not (self.insert_activation or self.training)
        ):
            return None
        pictures = batch.pixels[:, 0]
        if self.training and self.sw_loss:
            pictures = torch.cat(
                [pictures.float(), random_resized_crops(pictures, self.schema.image_size)]
            )
        embedded: Tensor = self.visual.patches(pictures)
        return embedded

    def align(
        self, index: int, text: Tensor, pictures: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """ISA: h = MHA(LN(h)) + h, h = T/V-FFN(LN(h)) + h, MHA and LN the same for both (Equations 3 and 4)."""
        layer, before = self.layers[index], self._norm_before(self.layers, index)
        beside, inputs = attend(layer, text, before, mask)
        text = self._join(layer, feed_forward(layer, inputs), beside)
        if self.visual is None or pictures is None:
            return text, None
        beside, inputs = attend(layer, pictures, before)
        return text, self._join(layer, self.visual.feed_forwards[index](inputs), beside)

    def activate(
        self, index: int, text: Tensor, pictures: Tensor | None, mask: Tensor | None, seen: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """IA: f(h [phi_k ; K]^T) [phi_v ; V], as the sum of the slots' part and the feed-forward's own (Equation 21).

        Args:
            index: The layer.
            text: (batch, tokens, hidden)
            pictures: (batch, 1 + patches, hidden); None for plain feed-forwards.
            mask: The layers' mask, (batch, 1, tokens, tokens) bool; None if all tokens may be attended to.
            seen: (batch, tokens) bool, True on real tokens of posts with a picture: the slots that there are.

        Returns:
            Both states; the pictures' None after the last block, whose feed-forward nothing would read.
        """
        layer = self.layers[index]
        beside, inputs = attend(layer, text, self._norm_before(self.layers, index), mask)
        fed = feed_forward(layer, inputs)
        if self.visual is None or pictures is None:
            return self._join(layer, fed, beside), None
        place, blocks = index - self.num_shared_layers, self.visual.blocks
        before = (
            self._norm_before(blocks, place) if place else self._norm_before(self.layers, index)
        )
        visual_beside, visual_inputs = attend(blocks[place], pictures, before)
        text = self._join(layer, fed + self.slots[place](inputs, visual_inputs, seen), beside)
        if place == len(blocks) - 1:
            return text, None
        return text, self._join(
            blocks[place], feed_forward(blocks[place], visual_inputs), visual_beside
        )

    def semantic_loss(self, text: Tensor, pictures: Tensor | None, batch: Batch) -> Tensor:
        """L_SW = alpha L_S + beta L_W over the posts with a picture (Equation 14); 0 if there are none.

        Of several processes, each compares the posts of all.

        Args:
            text: (batch, tokens, hidden) from the last ISA block.
            pictures: (2 * batch, 1 + patches, hidden) likewise, the augmented views last; None if there are none.
            batch: Masks and CLIP vectors.
        """
        if pictures is None:
            pictures = text.new_zeros(2 * len(batch), 2, text.shape[-1])
        whole, augmented = pictures.chunk(2)
        sentences = (text[:, 0], whole[:, 0])  # (batch, hidden) each
        words = (
            masked_mean(text, batch.text_mask),
            augmented[:, 1:].mean(1),
        )  # (batch, hidden) each
        seen, similarity = (
            all_gather_rows(batch.view_mask[:, 0]),
            self.similarity(batch),
        )  # (posts,), (posts, posts)
        sentence_loss, word_loss = (
            matching_loss(
                all_gather_rows(ours), all_gather_rows(theirs), similarity, self.temperature, seen
            )
            for ours, theirs in (sentences, words)
        )
        return self.alpha * sentence_loss + self.beta * word_loss

    def similarity(self, batch: Batch) -> Tensor:
        """P_ij = max(0, cos(T_c,i , V_c,j)) (Equation 5), (posts, posts) of all processes; without CLIP the identity.

        Raises:
            MmieError: ``clip`` names a model, and the batch has pictures but not their vectors.
        """
        missing = [name for name in ("clip_text", "clip_image") if name not in batch.features]
        if self.clip is None or (missing and len(batch.readable) == 0):
            _, world = rank_and_world_size()
            return torch.eye(world * len(batch), device=batch.view_mask.device)
        if missing:
            raise MmieError(
                f"clip is '{self.clip}', but the batch lacks its vectors {', '.join(missing)} (batch, width): keep "
                "them in the feature store, or set clip: null, which takes each post's own picture as its only match"
            )
        kept = (batch.features[name] for name in ("clip_text", "clip_image"))
        vectors = (
            all_gather_rows(rows.to(torch.promote_types(rows.dtype, torch.float32)))
            for rows in kept
        )
        texts, pictures = (functional.normalize(vector, dim=-1) for vector in vectors)
        return (texts @ pictures.T).relu()

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """What `ExtractionModule.diagnose` gives, and the method's own; pictures that are not there score 0.

        ================== ============== =======================================================================
        learned_similarity (batch, batch) cosine of a text and a picture after the last ISA block, texts first
        clip_similarity    (batch, batch) P of Equation 5; where ``clip`` is set and the batch holds its vectors
        ================== ============== =======================================================================
        """
        with inspecting(self):
            found, seen = super().diagnose(batch), batch.view_mask[:, 0]
            if self.visual is not None and batch.pixels is not None:
                found["learned_similarity"] = self.learned_similarity(batch) * seen
            if self.clip is not None and {"clip_text", "clip_image"} <= batch.features.keys():
                found["clip_similarity"] = self.similarity(batch) * seen
            return found

    def learned_similarity(self, batch: Batch) -> Tensor:
        """Cosine of every text's and every picture's start token after the ISA, as Equation 12 has it, (batch, batch).

        Raises:
            ValueError: There is no picture, or no visual part.
        """
        if self.visual is None or batch.pixels is None:
            raise ValueError(
                "no picture to compare with: sw_loss or insert_activation, and pixels, are needed"
            )
        text = embed_text(self.text, batch.input_ids, batch.token_type_ids)
        pictures: Any = self.visual.patches(batch.pixels[:, 0])  # (batch, 1 + patches, hidden)
        mask = layer_mask(self.text, text, batch.attention_mask)
        for index in range(self.num_shared_layers):
            text, pictures = self.align(index, text, pictures, mask)
        return (
            functional.normalize(text[:, 0], dim=-1)
            @ functional.normalize(pictures[:, 0], dim=-1).T
        )

    def pretrained_modules(self) -> list[nn.Module]:
        """Parts that train at ``text_lr``: the visual layers are copies of the text encoder's."""
        return [self.text, *([] if self.visual is None else [self.visual])]

    def rebuild_args(self) -> dict[str, Any]:
        """Constructor arguments that build the same network where neither hub nor folder is at hand."""
        return {**super().rebuild_args(), "patch_embedding": None}

    def _norm_before(self, layers: Any, index: int) -> nn.Module | None:
        """The norm in front of a layer's attention: that of the layer before it, or of the embeddings; None if post."""
        if not self.is_pre_norm:
            return None
        return (
            layers[index - 1].output.LayerNorm if index else nn.Identity()
        )  # embeddings come normed

    def _join(self, layer: Any, fed: Tensor, beside: Tensor) -> Tensor:
        """The residual connection around the feed-forward."""
        joined: Tensor = layer.output.dropout(fed) + beside
        return joined if self.is_pre_norm else layer.output.LayerNorm(joined)

    def _run(
        self, block: Callable[..., tuple[Tensor, Tensor | None]], *inputs: Any
    ) -> tuple[Tensor, Tensor | None]:
        """A block, its activations recomputed in the backward pass if ``gradient_checkpointing`` asks for it."""
        if not (self.training and self.layers[0].gradient_checkpointing):
            return block(*inputs)
        result: tuple[Tensor, Tensor | None] = checkpoint(block, *inputs, use_reentrant=False)
        return result


class VisualLayers(nn.Module):
    """The picture's own weights, copied from the text encoder's layers.

    Args:
        patches: What a picture is read by.
        layers: The text encoder's layers.
        num_shared_layers: Of these the picture has a feed-forward of its own.
        own_blocks: Whether it has blocks of its own for the others.
    """

    def __init__(
        self, patches: PatchEmbedding, layers: Any, num_shared_layers: int, own_blocks: bool
    ) -> None:
        super().__init__()
        self.patches = patches
        self.feed_forwards = nn.ModuleList(
            FeedForward(layer) for layer in layers[:num_shared_layers]
        )
        own = layers[num_shared_layers:] if own_blocks else []
        self.blocks = nn.ModuleList(trainable_copy(layer) for layer in own)
        if own_blocks:  # unread; a weight without gradient is never right
            del self.blocks[-1].intermediate, self.blocks[-1].output


class FeedForward(nn.Module):
    """V-FFN: a copy of a layer's feed-forward, without its norm, which the modalities share."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.intermediate, self.output = (
            trainable_copy(layer.intermediate),
            trainable_copy(layer.output.dense),
        )

    def forward(self, states: Tensor) -> Tensor:
        """(..., hidden) -> (..., hidden)."""
        fed: Tensor = self.output(self.intermediate(states))
        return fed


class KnowledgeSlots(nn.Module):
    """f(h phi_k^T) phi_v: hidden units beside a feed-forward's own, one per text token (Equations 19 to 21).

    Args:
        hidden_size: Width of text and picture states.
        intermediate: First half of the layer's feed-forward, whose activation is f.
    """

    def __init__(self, hidden_size: int, intermediate: Any) -> None:
        super().__init__()
        self.activation = trainable_copy(intermediate.intermediate_act_fn)
        self.key = nn.Linear(hidden_size, hidden_size, bias=False)
        self.value = nn.Linear(hidden_size, hidden_size, bias=False)
        nn.init.normal_(self.key.weight, std=1 / hidden_size)  # normed states then score about 1
        nn.init.zeros_(self.value.weight)

    def forward(self, text: Tensor, pictures: Tensor, mask: Tensor) -> Tensor:
        """What the slots add to the feed-forward's result.

        Args:
            text: (batch, tokens, hidden) inputs of the text's feed-forward.
            pictures: (batch, 1 + patches, hidden) inputs of the pictures' feed-forward.
            mask: (batch, tokens) bool, True on slots that there are.

        Returns:
            (batch, tokens, hidden)
        """
        knowledge = self.select(text, pictures)  # (batch, slots = tokens, hidden)
        scores = text @ self.key(knowledge).transpose(1, 2)  # (batch, tokens, slots)
        inserted: Tensor = (self.activation(scores) * mask.unsqueeze(1)) @ self.value(knowledge)
        return inserted

    def select(self, text: Tensor, pictures: Tensor) -> Tensor:
        """k_i = softmax(S_i) h^v, S = h^t (h^v)^T (Equations 16 to 18), (batch, tokens, hidden)."""
        similarities = text @ pictures.transpose(1, 2)  # (batch, tokens, 1 + patches)
        return similarities.softmax(-1) @ pictures


def attend(
    layer: Any,
    states: Tensor,
    before: nn.Module | None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The first half of a block, h = MHA(LN(h)) + h (Equation 3).

    Args:
        layer: A layer of the text encoder, or a copy.
        states: (batch, positions, hidden)
        before: The norm in front of the attention; None has the norm behind it, LN(MHA(h) + h).
        mask: (batch, 1, positions, positions) bool, True on what may be attended to; None if all may.

    Returns:
        What goes on beside the feed-forward, and what goes into it, (batch, positions, hidden) each.
    """
    attention = layer.attention
    heads = attention.self(states if before is None else before(states), mask)[
        0
    ]  # (batch, positions, hidden)
    added: Tensor = attention.output.dropout(attention.output.dense(heads)) + states
    normed: Tensor = attention.output.LayerNorm(added)
    return (normed if before is None else added), normed


def feed_forward(layer: Any, states: Tensor) -> Tensor:
    """FFN(h) = f(h K^T) V (Equation 15) with the layer's biases, (..., hidden) -> (..., hidden)."""
    fed: Tensor = layer.output.dense(layer.intermediate(states))
    return fed


def _count_shared(num_shared_layers: int | None, num_layers: int) -> int:
    """L_VT, with at least one layer for the ISA and one for the IA."""
    count = num_layers // 2 if num_shared_layers is None else num_shared_layers
    if not 1 <= count < num_layers:
        raise ValueError(
            f"num_shared_layers is {count}, the text encoder has {num_layers} layers: expected 1 to {num_layers - 1}"
        )
    return count
