"""IMM: implicit modality mining, where image patches pass through the text encoder's layers.

Lu and Guo, Implicit Modality Mining: An End-to-End Method for Multimodal Information Extraction,
Journal of Electronic Research and Application, March 2024, https://doi.org/10.26689/jera.v8i2.6397

1. The global picture becomes a start token and a linear projection of its patches. Crops and a
   visual backbone are not used.
2. ISA: in the first layers text and patches pass, each by itself, through the same attention and
   norms, and through a feed-forward of their own.
3. SW loss: over the batch, texts and pictures must match as CLIP says, as a whole and between words
   and patches.
4. IA: in the other layers each text token selects visual knowledge, which joins the feed-forward as
   hidden units.
5. The shared head classifies the text states.

=====================================  ================================  ===========================
paper                                  here                              shape
=====================================  ================================  ===========================
T (Equation 1)                         `mmie.blocks.text_layers`         (batch, tokens, hidden)
V (Equation 2)                         `mmie.blocks.patch_embedding`     (pictures, 1 + patches,
                                                                         hidden)
ISA block (Equations 3, 4)             `IMM.align`                       (batch, tokens, hidden),
                                                                         (pictures, 1 + patches,
                                                                         hidden)
P (Equation 5)                         `IMM.similarity`                  (batch, batch)
p, q, one direction (Equations 6-11)   `mmie.blocks.matching`            ()
both directions (Equations 12, 13)     `mmie.blocks.matching`            ()
L_SW (Equation 14)                     `IMM.semantic_loss`               ()
S, k (Equations 16-18)                 `KnowledgeSlots.select`           (batch, tokens, hidden)
Activation-FFN (Equations 15, 19-21)   `KnowledgeSlots`, `IMM.activate`  (batch, tokens, hidden)
=====================================  ================================  ===========================

**Departures.**

Different from the paper:

- The paper's blocks are pre-norm. BERT's weights were trained in post-norm blocks and lose accuracy
  in pre-norm ones, so ``norm: post`` is the default. ``norm: pre`` computes the paper's blocks,
  with each sub-layer behind the norm whose output it reads in BERT.
- Equations 7 and 10 print dot products, which make p nearly one-hot for wide vectors. The default
  compares cos / ``temperature`` (0.07). ``matching: dot`` is the equation as printed, and
  ``matching: projection`` the score of the work that the loss follows: a . b divided by the length
  of b.
- Embeddings of text and patches pass a norm and dropout, which Equations 1 and 2 do not print. The
  norm of patches starts as a copy of the text encoder's.
- f of Equation 15 is the text encoder's activation (GELU in BERT). The paper says "like Leaky
  ReLU". The feed-forwards keep their biases, which the paper leaves out of Equation 15.
- v_sep of Equation 2 is dropped. The text below the equation does not name it.
- The last visual block ends before its feed-forward, whose output nothing reads.
- A post without a picture is no row and no column of the SW loss, and its text passes the plain
  text encoder. A row of P that is all 0 gives a uniform q.
- With ``clip: null``, the default of the class and of the demo configurations, P is the identity:
  the only match of a text is the picture of its own post. The configurations of the corpora name
  the CLIP.
- Equations 23 and 24 are sums over the data set. Here they are means over the posts of a batch. The
  CRF rules out impossible transitions.

Guessed where the paper is silent or contradicts itself:

- Text and patches do not attend to one another in the ISA. The equations are written for each
  modality, and the loss compares text i with picture j for all i and j.
- The outputs of the last ISA block that stand for sentence and words are not named. The sentence
  level compares ``[CLS]`` with v_cls. The word level compares the mean over the pieces of the
  post's words, without special tokens, markers and context, with the mean over the patches.
- The paper augments "corresponding images". Here the word level alone reads the augmented picture,
  a random crop of 8 to 100 % of its area with ratios from 3:4 to 4:3, flipped in half of the cases.
  CLIP reads the picture as it is.
- In the direction from picture to text, q is made of the columns of P.
- With several processes, each compares the posts of all. B is then their number in all processes.
- Equations 19 and 20 are missing in the print. phi_k = k W_k and phi_v = k W_v follow Kformer, on
  which the paper builds, but without its biases. The transpose that Equation 21 lacks is added.
  Every token is open to the slots of all real tokens.
- Equation 16 is not divided by the square root of the width, so that a token selects nearly one
  patch. ``slot_scale: true`` divides by it.
- W_v starts at 0, so that training starts at the text encoder, and W_k so that a token and a slot
  score about 1.
- The text encoder's layers are the start of all blocks: of the shared attention, norms and T-FFN,
  and, as copies, of the V-FFN and the visual IA blocks. Patch projection, v_cls, positions and
  pixel statistics are those of ``patch_embedding``, a CLIP ViT-B/32, if it is as wide as the text
  encoder. Otherwise they start randomly, as V_type does.
- Values that the paper does not give: L_VT = L_IA = 6 (halves of the text encoder), patches of 32
  pixels, alpha = beta = 0.5, gamma (``sw_weight``) = 0.1, delta = 1, eps = 1e-8.
- Encoders and training, of which the paper says nothing: ``bert-base-uncased``,
  ``openai/clip-vit-base-patch32``, AdamW with weight decay 0.01 on everything but biases, norms and
  embeddings, warm-up over 10 % of the steps and linear decay, learning rate 3e-5 (head 5e-2 for
  entities, 1e-3 for relations), batches of 16, dropout 0.1 before the head, 30 epochs for entities
  and 15 for relations with validation after each, BIO tags, texts of at most 128 and 80 tokens,
  pictures resized at the short side and cut at the centre to 224 x 224.
- Relations read ``[CLS]``, as in the paper, in the configurations (``pooling: cls``). The default
  of the class is that of all methods, ``entities``.

Beyond the paper, which has one picture:

- Further pictures (``data.num_images``) pass through ISA and IA each by itself. A text token
  selects visual knowledge among the start tokens and patches of all readable ones. In the SW loss,
  v_cls and the mean over patches are those of the readable pictures on average, and so is the
  vector V_c of CLIP, whose mean is taken over vectors of length 1.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mmie.blocks.all_gather import all_gather_rows
from mmie.blocks.attention import masked_mean, masked_softmax
from mmie.blocks.augmentation import random_resized_crops
from mmie.blocks.clip import ClipVectors, clip_identity
from mmie.blocks.features import FeatureSpec
from mmie.blocks.matching import Matching, matching_loss, matching_scores
from mmie.blocks.patch_embedding import PatchEmbedding
from mmie.blocks.precision import at_least_float32
from mmie.blocks.text_layers import embed_text, layer_mask, text_layers
from mmie.blocks.weights import trainable_copy, zero_for_unused
from mmie.methods import papers
from mmie.methods.base import ExtractionModule
from mmie.methods.inspection import inspecting
from mmie.types import Batch, Encoding, MmieError, Schema
from mmie.utils.distributed import rank_and_world_size

Norm = Literal["post", "pre"]


class IMM(ExtractionModule):
    """Implicit semantic alignment and insert-activation, from the global picture alone.

    Args:
        schema: Description of the data. The command line links it from the data module.
        num_shared_layers: Layers of the text encoder that form the ISA (L_VT), the others form the
            IA. None halves them.
        norm: ``post`` keeps the norms where the text encoder's weights expect them, ``pre`` puts
            them where the paper does. Test F1 after one epoch from a pretrained encoder of 6
            layers, without pictures, ``post`` and ``pre``: Twitter-2017 75.41 and 74.19, MNRE 51.93
            and 21.00. On the demo corpus, from random weights: entities 83.54 and 78.92, relations
            (``pooling: entities``) 87.27 and 86.34.
        patch_size: Height and width of a patch in pixels.
        patch_embedding: A timm ViT, or local folder of one, whose patch projection, start token and
            positions are copied if it is as wide as the text encoder. None starts them randomly.
        clip: Hub name or local folder of the CLIP model that decides which texts and pictures
            match. Its vectors are computed once and kept in the feature cache. None takes a post's
            own picture as its only match.
        sw_loss: Train with the semantic-wise loss ("w/o SW").
        insert_activation: Insert visual knowledge into the feed-forwards ("w/o IA").
        sw_weight: Weight of the semantic-wise loss (gamma).
        alpha: Share of its sentence level.
        beta: Share of its word level.
        matching: Scores that it compares: ``cosine`` / tau, ``dot`` product, or ``projection`` on
            the direction of the other vector.
        temperature: Divisor of the cosines (tau).
        slot_scale: Divide the similarities of tokens and patches by the square root of the width.
        **shared: See `ExtractionModule`.

    Raises:
        ValueError: A switch is out of range, or the text encoder is not built like BERT.
        WeightsUnavailable: The weights of ``patch_embedding`` cannot be loaded.
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
        matching: Matching = "cosine",
        temperature: float = 0.07,
        slot_scale: bool = False,
        **shared: Any,
    ) -> None:
        super().__init__(schema, **shared)
        if norm not in get_args(Norm) or matching not in get_args(Matching) or temperature <= 0:
            raise ValueError(
                f"norm is '{norm}', expected post or pre; matching is '{matching}', expected "
                f"{', '.join(get_args(Matching))}; temperature is {temperature}, expected above 0"
            )
        self.num_shared_layers = _count_shared(num_shared_layers, len(self.layers))
        self.num_images = schema.num_images
        self.is_pre_norm = norm == "pre"
        self.clip = clip
        self.sw_loss = sw_loss
        self.insert_activation = insert_activation
        self.sw_weight = sw_weight
        self.alpha = alpha
        self.beta = beta
        self.matching: Matching = matching
        self.temperature = temperature
        self.visual: VisualLayers | None = None
        if sw_loss or insert_activation:
            source = patch_embedding if self.pretrained else None
            patches = PatchEmbedding(self.text, schema.image_size, patch_size, source)
            self.visual = VisualLayers(
                patches, self.layers, self.num_shared_layers, insert_activation
            )
        slot_layers = self.layers[self.num_shared_layers :] if insert_activation else []
        self.slots = nn.ModuleList(
            KnowledgeSlots(self.text.hidden_size, layer.intermediate, slot_scale)
            for layer in slot_layers
        )

    @property
    def layers(self) -> Any:
        """Layers of the text encoder."""
        return text_layers(self.text)

    def encode(self, batch: Batch) -> Encoding:
        """Run the ISA and the IA over text and patches (Sections 3.2 and 3.3)."""
        text = embed_text(self.text, batch.input_ids, batch.token_type_ids)
        pictures = self.embed_pictures(batch)  # (pictures, 1 + patches, hidden)
        if pictures is None and self.visual is not None and self.training:
            text = text + zero_for_unused(self.visual, self.slots)
        mask = layer_mask(self.text, text, batch.attention_mask)
        for index in range(self.num_shared_layers):
            text, pictures = self._run(self.align, index, text, pictures, mask)
        losses = {}
        if self.training and self.sw_loss:
            losses["sw"] = self.sw_weight * self.semantic_loss(text, pictures, batch)
        if pictures is not None:
            # augmented views serve the loss alone
            num_pictures = len(batch) * self.num_images
            pictures = pictures[:num_pictures] if self.insert_activation else None
        picture_mask = self.picture_mask(batch)  # (batch, num_images)
        slot_mask = batch.attention_mask & picture_mask.any(1, keepdim=True)  # (batch, tokens)
        masks = (mask, slot_mask, picture_mask)
        for index in range(self.num_shared_layers, len(self.layers)):
            text, pictures = self._run(self.activate, index, text, pictures, *masks)
        if self.is_pre_norm:
            text = self.layers[-1].output.LayerNorm(text)
        return Encoding(text, losses)

    def feature_specs(self) -> list[FeatureSpec]:
        """Specify CLIP's vectors of text and picture if the SW loss compares them.

        CLIP is loaded only when a vector is not cached.
        """
        if self.clip is None or not self.sw_loss:
            return []
        source, identity = self.clip, clip_identity(self.clip)

        @cache
        def load_clip() -> ClipVectors:
            return ClipVectors(source, self.device)

        def encode_texts(texts: list[str]) -> Tensor:
            return load_clip().texts(texts)

        def encode_pictures(pixels: Tensor) -> Tensor:
            return load_clip().pictures(pixels)

        return [
            FeatureSpec(
                "clip_text", "text", identity, encode_texts, training_only=True, required=True
            ),
            FeatureSpec(
                "clip_image",
                "picture",
                identity,
                encode_pictures,
                training_only=True,
                required=True,
                num_images=self.num_images,
            ),
        ]

    def picture_mask(self, batch: Batch) -> Tensor:
        """Return the mask of the readable pictures of a batch, (batch, num_images) bool."""
        return batch.view_mask[:, : self.num_images]

    def embed_pictures(self, batch: Batch) -> Tensor | None:
        """Compute V of the global pictures, post by post (Equation 2).

        Under an SW loss, that of their augmented views follows.

        Returns:
            (pictures, 1 + patches, hidden), None if no state and no loss depends on it.
        """
        is_used = self.insert_activation or self.training
        if self.visual is None or batch.pixels is None or not is_used:
            return None
        pictures = batch.pixels[:, : self.num_images].flatten(0, 1)  # (pictures, 3, height, width)
        if self.training and self.sw_loss:
            augmented = random_resized_crops(pictures, self.schema.image_size)
            pictures = torch.cat([pictures.float(), augmented])  # (2 * pictures, ...)
        embedded: Tensor = self.visual.patches(pictures)
        return embedded

    def align(
        self, index: int, text: Tensor, pictures: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Compute h = MHA(LN(h)) + h, h = FFN(LN(h)) + h for text and pictures (Equations 3 and 4).

        MHA and LN are the same for both, the FFN is not.

        Args:
            index: Index of the layer.
            text: (batch, tokens, hidden)
            pictures: (pictures, 1 + patches, hidden), None without pictures.
            mask: The layers' mask, (batch, 1, tokens, tokens) bool, None if all tokens may be
                attended to.

        Returns:
            Both states.
        """
        layer = self.layers[index]
        norm_before = self._norm_before(index)
        residual, inputs = attend(layer, text, norm_before, mask)  # (batch, tokens, hidden) each
        text = self._add_and_norm(layer, residual, feed_forward(layer, inputs))
        if self.visual is None or pictures is None:
            return text, None
        residual, inputs = attend(layer, pictures, norm_before)  # (pictures, 1 + patches, hidden)
        fed = self.visual.feed_forwards[index](inputs)
        return text, self._add_and_norm(layer, residual, fed)

    def activate(
        self,
        index: int,
        text: Tensor,
        pictures: Tensor | None,
        mask: Tensor | None,
        slot_mask: Tensor,
        picture_mask: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        """Compute an IA block, whose feed-forward has additional hidden units (Equation 21).

        FFN(h) = f(h [phi_k ; K]^T) [phi_v ; V] for the text, as the sum of the slots' part and the
        layer's own part. Pictures have the plain feed-forward of their own block.

        Args:
            index: Index of the layer.
            text: (batch, tokens, hidden)
            pictures: (pictures, 1 + patches, hidden), None for plain feed-forwards.
            mask: The layers' mask, (batch, 1, tokens, tokens) bool, None if all tokens may be
                attended to.
            slot_mask: (batch, tokens) bool, True on slots that exist: real tokens of posts with a
                picture.
            picture_mask: (batch, num_images) bool, True on readable pictures.

        Returns:
            Both states. That of the pictures is None after the last block.
        """
        layer = self.layers[index]
        residual, inputs = attend(layer, text, self._norm_before(index), mask)
        fed = feed_forward(layer, inputs)  # (batch, tokens, hidden)
        if self.visual is None or pictures is None:
            return self._add_and_norm(layer, residual, fed), None
        block_index = index - self.num_shared_layers
        block: Any = self.visual.blocks[block_index]
        visual_residual, visual_inputs = attend(block, pictures, self._norm_before_block(index))
        patches, patch_mask = _by_post(visual_inputs, picture_mask)
        fed = fed + self.slots[block_index](inputs, patches, slot_mask, patch_mask)
        text = self._add_and_norm(layer, residual, fed)  # (batch, tokens, hidden)
        if index == len(self.layers) - 1:
            return text, None
        visual_fed = feed_forward(block, visual_inputs)  # (pictures, 1 + patches, hidden)
        return text, self._add_and_norm(block, visual_residual, visual_fed)

    def semantic_loss(self, text: Tensor, pictures: Tensor | None, batch: Batch) -> Tensor:
        """Compute L_SW = alpha L_S + beta L_W over the posts with a picture (Equation 14).

        With several processes, each compares the posts of all. It is computed at least in float32,
        also under autocast.

        Args:
            text: (batch, tokens, hidden) from the last ISA block.
            pictures: (2 * pictures, 1 + patches, hidden) likewise, the augmented views last. None
                if no post has a picture.
            batch: Masks and CLIP vectors.

        Returns:
            (), 0 if no post has a picture.
        """
        if pictures is None:
            pictures = text.new_zeros(2 * len(batch) * self.num_images, 2, text.shape[-1])
        text, pictures = at_least_float32(text), at_least_float32(pictures)
        original, augmented = pictures.chunk(2)  # (pictures, 1 + patches, hidden) each
        words = masked_mean(text, batch.text_mask)  # (batch, hidden)
        starts = self.mean_by_post(original[:, 0], batch)  # (batch, hidden)
        patches = self.mean_by_post(augmented[:, 1:].mean(1), batch)  # (batch, hidden)
        has_picture = all_gather_rows(self.picture_mask(batch).any(1))  # (posts,)
        similarity = self.similarity(batch)  # (posts, posts)

        def match(texts: Tensor, pictures: Tensor) -> Tensor:
            texts, pictures = all_gather_rows(texts), all_gather_rows(pictures)  # (posts, hidden)
            return matching_loss(
                texts, pictures, similarity, has_picture, self.matching, self.temperature
            )

        sentence_loss = match(text[:, 0], starts)
        word_loss = match(words, patches)
        return self.alpha * sentence_loss + self.beta * word_loss

    def mean_by_post(self, vectors: Tensor, batch: Batch) -> Tensor:
        """Compute the mean over the readable pictures of each post.

        Args:
            vectors: (pictures, width)
            batch: The posts.

        Returns:
            (batch, width); of posts with one picture each, the vectors as they are.
        """
        if self.num_images == 1:
            return vectors
        mask = self.picture_mask(batch)  # (batch, num_images)
        return masked_mean(vectors.unflatten(0, mask.shape), mask)

    def similarity(self, batch: Batch) -> Tensor:
        """Compute P_ij = max(0, cos(T_c,i , V_c,j)) (Equation 5), the identity without CLIP.

        Returns:
            (posts, posts) of all processes.

        Raises:
            MmieError: ``clip`` names a model, and the batch has pictures but not their vectors.
        """
        missing = [name for name in ("clip_text", "clip_image") if name not in batch.features]
        if self.clip is None or (missing and len(batch.readable) == 0):
            _, world_size = rank_and_world_size()
            return torch.eye(world_size * len(batch), device=batch.view_mask.device)
        if missing:
            raise MmieError(
                f"clip is '{self.clip}', but the batch lacks its vectors {', '.join(missing)} "
                "(batch, width): keep them in the feature store, or set clip: null, which takes "
                "each post's own picture as its only match"
            )
        texts = _gather_unit_vectors(batch.features["clip_text"])  # (posts, width)
        vectors = batch.features["clip_image"]  # (batch, width) or (batch, num_images, width)
        if self.num_images > 1:
            unit = functional.normalize(at_least_float32(vectors), dim=-1).flatten(0, 1)
            vectors = self.mean_by_post(unit, batch)  # (batch, width)
        pictures = _gather_unit_vectors(vectors)  # (posts, width)
        with torch.autocast(texts.device.type, enabled=False):
            return (texts @ pictures.T).relu()

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """Add the method's own numbers to those of `ExtractionModule.diagnose`.

        ================== ============== ==========================================================
        learned_similarity (batch, batch) cosine of a text and a picture after the last ISA block,
                                          texts first
        clip_similarity    (batch, batch) P of Equation 5; only with ``clip``, and if the batch
                                          holds its vectors
        ================== ============== ==========================================================

        Both are 0 for absent pictures.
        """
        with inspecting(self):
            diagnosis = super().diagnose(batch)
            has_picture = self.picture_mask(batch).any(1)  # (batch,)
            if self.visual is not None and batch.pixels is not None:
                diagnosis["learned_similarity"] = self.learned_similarity(batch) * has_picture
            if self.clip is not None and {"clip_text", "clip_image"} <= batch.features.keys():
                diagnosis["clip_similarity"] = self.similarity(batch) * has_picture
            return diagnosis

    def learned_similarity(self, batch: Batch) -> Tensor:
        """Compute the cosine of every text's and picture's start token after the ISA (Equation 12).

        Returns:
            (batch, batch), texts first.

        Raises:
            ValueError: The batch has no picture, or the method no visual part.
        """
        if self.visual is None or batch.pixels is None:
            raise ValueError(
                "no picture to compare with: sw_loss or insert_activation, and pixels, are needed"
            )
        text = embed_text(self.text, batch.input_ids, batch.token_type_ids)
        pixels = batch.pixels[:, : self.num_images].flatten(0, 1)  # (pictures, 3, height, width)
        pictures: Any = self.visual.patches(pixels)  # (pictures, 1 + patches, hidden)
        mask = layer_mask(self.text, text, batch.attention_mask)
        for index in range(self.num_shared_layers):
            text, pictures = self.align(index, text, pictures, mask)
        texts = at_least_float32(text[:, 0])  # (batch, hidden)
        pictures = self.mean_by_post(at_least_float32(pictures[:, 0]), batch)  # (batch, hidden)
        with torch.autocast(text.device.type, enabled=False):
            return matching_scores(texts, pictures, "cosine", 1.0)

    def pretrained_modules(self) -> list[nn.Module]:
        """Return the parts that train at ``text_lr``.

        The visual layers are copies of the text encoder's.
        """
        return [self.text] if self.visual is None else [self.text, self.visual]

    def rebuild_args(self) -> dict[str, Any]:
        """Return constructor arguments that build the same network without a hub or folder."""
        return {**super().rebuild_args(), "patch_embedding": None, "clip": None}

    def _norm_before(self, index: int) -> nn.Module | None:
        """Return the norm in front of a layer's attention, None in post-norm layers.

        It is that of the layer before. The embeddings before the first layer are normed.
        """
        if not self.is_pre_norm:
            return None
        return self.layers[index - 1].output.LayerNorm if index else nn.Identity()

    def _norm_before_block(self, index: int) -> nn.Module | None:
        """Return the norm in front of the attention of a layer's visual block.

        It is that of the block before, or, for the first block, of the last ISA layer.
        """
        block_index = index - self.num_shared_layers
        if not self.is_pre_norm or self.visual is None or block_index == 0:
            return self._norm_before(index)
        previous: Any = self.visual.blocks[block_index - 1]
        norm: nn.Module = previous.output.LayerNorm
        return norm

    def _add_and_norm(self, layer: Any, residual: Tensor, fed: Tensor) -> Tensor:
        """Add a feed-forward's result to the residual, and norm the sum in post-norm layers."""
        added: Tensor = layer.output.dropout(fed) + residual
        return added if self.is_pre_norm else layer.output.LayerNorm(added)

    def _run(
        self, block: Callable[..., tuple[Tensor, Tensor | None]], *inputs: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Run a block, and recompute its activations in the backward pass if asked for.

        ``gradient_checkpointing`` asks for it.
        """
        if not (self.training and self.layers[0].gradient_checkpointing):
            return block(*inputs)
        result: tuple[Tensor, Tensor | None] = checkpoint(block, *inputs, use_reentrant=False)
        return result


class VisualLayers(nn.Module):
    """Weights of the pictures, copied from the text encoder's layers.

    Args:
        patches: Embedding of pictures.
        layers: Layers of the text encoder.
        num_shared_layers: Number of layers in which pictures have only a feed-forward of their own.
        own_blocks: Give pictures a block of their own for every other layer.
    """

    def __init__(
        self, patches: PatchEmbedding, layers: Any, num_shared_layers: int, own_blocks: bool
    ) -> None:
        super().__init__()
        self.patches = patches
        self.feed_forwards = nn.ModuleList(
            FeedForward(layer) for layer in layers[:num_shared_layers]
        )
        block_layers = layers[num_shared_layers:] if own_blocks else []
        self.blocks = nn.ModuleList(trainable_copy(layer) for layer in block_layers)
        if own_blocks:
            # nothing reads their output, and every weight must get a gradient
            del self.blocks[-1].intermediate, self.blocks[-1].output


class FeedForward(nn.Module):
    """V-FFN: copy of a layer's feed-forward, without its norm, which both modalities share."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.intermediate = trainable_copy(layer.intermediate)
        self.output = trainable_copy(layer.output.dense)

    def forward(self, states: Tensor) -> Tensor:
        """Compute FFN(h) = f(h K^T) V (Equation 15) with biases, (..., hidden) to (..., hidden)."""
        fed: Tensor = self.output(self.intermediate(states))
        return fed


class KnowledgeSlots(nn.Module):
    """Hidden units beside a feed-forward's own, one per text token (Equations 16 to 21).

    Args:
        hidden_size: Width of text and picture states.
        intermediate: First half of the layer's feed-forward, whose activation is f.
        scaled: Divide the similarities S by the square root of ``hidden_size``.
    """

    def __init__(self, hidden_size: int, intermediate: Any, scaled: bool = False) -> None:
        super().__init__()
        self.scaled = scaled
        self.activation = trainable_copy(intermediate.intermediate_act_fn)
        self.key = nn.Linear(hidden_size, hidden_size, bias=False)
        self.value = nn.Linear(hidden_size, hidden_size, bias=False)
        nn.init.normal_(self.key.weight, std=1 / hidden_size)  # normed states then score about 1
        nn.init.zeros_(self.value.weight)

    def forward(
        self, text: Tensor, pictures: Tensor, mask: Tensor, patch_mask: Tensor | None = None
    ) -> Tensor:
        """Compute f(h phi_k^T) phi_v, the slots' part of the feed-forward (Equations 19 to 21).

        Args:
            text: (batch, tokens, hidden) inputs of the text's feed-forward.
            pictures: (batch, patches, hidden) inputs of the pictures' feed-forward, start tokens
                included.
            mask: (batch, tokens) bool, True on slots that exist.
            patch_mask: See `select`.

        Returns:
            (batch, tokens, hidden)
        """
        knowledge = self.select(text, pictures, patch_mask)  # (batch, slots = tokens, hidden)
        scores = text @ self.key(knowledge).transpose(1, 2)  # (batch, tokens, slots)
        active = self.activation(scores) * mask.unsqueeze(1)  # (batch, tokens, slots)
        inserted: Tensor = active @ self.value(knowledge)
        return inserted

    def select(self, text: Tensor, pictures: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute k_i = softmax(S_i) h^v, S = h^t (h^v)^T (Equations 16 to 18).

        S is computed at least in float32, also under autocast: it reaches hundreds, where bfloat16
        is off by 1 or 2.

        Args:
            text: (batch, tokens, hidden) h^t.
            pictures: (batch, patches, hidden) h^v, start tokens included.
            mask: (batch, patches) bool, True on those of readable pictures; None selects among all.

        Returns:
            (batch, tokens, hidden)
        """
        with torch.autocast(text.device.type, enabled=False):
            keys = at_least_float32(pictures).transpose(1, 2)  # (batch, hidden, patches)
            similarities = at_least_float32(text) @ keys  # (batch, tokens, patches)
            if self.scaled:
                similarities = similarities / text.shape[-1] ** 0.5
            if mask is None:
                weights = similarities.softmax(-1)  # (batch, tokens, patches)
            else:
                weights = masked_softmax(similarities, mask.unsqueeze(1))
        return weights.to(pictures.dtype) @ pictures


def _by_post(states: Tensor, picture_mask: Tensor) -> tuple[Tensor, Tensor | None]:
    """Put the states of a post's pictures into one row.

    Args:
        states: (pictures, 1 + patches, hidden)
        picture_mask: (batch, num_images) bool, True on readable pictures.

    Returns:
        (batch, num_images * (1 + patches), hidden), and the mask of those of readable pictures,
        which is None with one picture per post.
    """
    num_positions = states.shape[1]
    if picture_mask.shape[1] == 1:
        return states, None
    rows = states.unflatten(0, picture_mask.shape).flatten(1, 2)
    return rows, picture_mask.repeat_interleave(num_positions, dim=1)


def attend(
    layer: Any, states: Tensor, norm_before: nn.Module | None, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute the first half of a block, h = MHA(LN(h)) + h (Equation 3).

    Args:
        layer: A layer of the text encoder, or a copy.
        states: (batch, positions, hidden)
        norm_before: The norm in front of the attention. None puts the norm behind it,
            LN(MHA(h) + h).
        mask: (batch, 1, positions, positions) bool, True on positions that may be attended to, None
            if all may.

    Returns:
        The residual beside the feed-forward, and the input of the feed-forward, (batch, positions,
        hidden) each.
    """
    attention = layer.attention
    inputs = states if norm_before is None else norm_before(states)
    attended = attention.self(inputs, mask)[0]  # (batch, positions, hidden)
    added: Tensor = attention.output.dropout(attention.output.dense(attended)) + states
    normed: Tensor = attention.output.LayerNorm(added)
    return (normed if norm_before is None else added), normed


def feed_forward(layer: Any, states: Tensor) -> Tensor:
    """Compute FFN(h) = f(h K^T) V (Equation 15) with biases, (..., hidden) to (..., hidden)."""
    fed: Tensor = layer.output.dense(layer.intermediate(states))
    return fed


def _gather_unit_vectors(vectors: Tensor) -> Tensor:
    """Gather vectors of all processes and divide them by their lengths, at least in float32.

    Args:
        vectors: (batch, width)

    Returns:
        (posts, width)
    """
    return functional.normalize(all_gather_rows(at_least_float32(vectors)), dim=-1)


def _count_shared(num_shared_layers: int | None, num_layers: int) -> int:
    """Return the number of ISA layers (L_VT), which leaves at least one layer for the IA.

    Raises:
        ValueError: The ISA or the IA has no layer.
    """
    count = num_layers // 2 if num_shared_layers is None else num_shared_layers
    if not 1 <= count < num_layers:
        raise ValueError(
            f"num_shared_layers is {count}, the text encoder has {num_layers} layers: expected 1 "
            f"to {num_layers - 1}"
        )
    return count
