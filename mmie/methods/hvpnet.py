"""HVPNet (baseline): a hierarchical visual prefix before the keys and values of every text layer.

Chen et al., Good Visual Guidance Makes A Better Extractor, Findings of NAACL 2022,
https://arxiv.org/abs/2205.03521

1. A frozen ResNet-50 gives four feature maps of every view, each pooled to 2 x 2 (``pool_to``).
2. Each map becomes four vectors of the text's width.
3. In every text layer, a gate per view weighs the four scales.
4. The views follow one another, 4 positions each, and give the layer's prefix keys and values.
5. The text encoder attends to them in every layer. The shared head classifies its states.

==================================  =================================  =============================
paper                               here                               shape
==================================  =================================  =============================
pyramid (Section 3.1)               `MultimodalModule.encode_images`   4 x (batch, views, channels,
                                                                       2, 2)
V_i, gates, prefix (Equations 2-7)  `PyramidPrefix`                    (layers, batch, heads,
                                    (`mmie.blocks.visual_prefix`)      4 * views, head_size)
attention (Section 3.3)             `mmie.blocks.prefix_attention`     (batch, tokens, hidden)
==================================  =================================  =============================

**Departures.**

Between paper and published code, which differ (equations are those of RSRNeT's paper, which
restates them):

- The code cuts the pooled maps into vectors and heads in another way, and fills missing crops with
  a blank view that is attended to. The default computes what the paper says, ``variant: reference``
  what the code computes.
- A picture that cannot be read is masked with its crops, in both variants. The code takes another
  picture.
- Stages are pooled to 2 x 2 by averages over windows of floor(size / 2), as in the code. The
  equations do not say to which size (``pool_to``).
- Gates, projections and the maps to keys and values have biases, as in the code. The equations
  print none. sqrt(d) of the attention is that of the width of a head.
- In ``variant: paper`` new linear maps start from N(0, 0.02), with biases of 0. The paper does not
  say how.
- The ResNet-50 stays in eval mode. In the code its batch norms use the statistics of the batch in
  training. The configurations name the code's weights (``resnet50.tv_in1k``). The default of the
  class, ``resnet50``, has others.

In tasks and training:

- The CRF runs over words, with BIO tags, and rules out impossible transitions. That of the code
  runs over pieces, with the tags ``PAD``, ``X``, ``[CLS]`` and ``[SEP]`` beside them.
- Entity markers are unused or new tokens. The code has ``<s>``, ``</s>``, ``<o>`` and ``</o>``.
- The relation classifier is trained, with learning rate 1e-3. In the code no optimiser group
  contains it, so that it keeps its random weights.
- Dropout of 0.1 stands before both heads. The code has none before the relation classifier.
- The optimiser is AdamW with weight decay 0.01 on everything but biases, norms and embeddings. The
  code decays all weights. The rates fall linearly to 0 after the warm-up. The head of entities has
  the code's rate, 5e-2.
- Batches have 16 posts and the warm-up takes 10 % of the steps, as in RSRNeT's paper. The code has
  8 and 1 % for entities, 16 and 6 % for relations.
- Texts of Twitter-2015 are cut at 128 tokens, in the code at 80.
- Every epoch is validated. The code starts with the third for entities.

Beyond the paper, which has one picture:

- Further pictures (``data.num_images``) are views like the first one: each has a gate for every
  layer and 4 positions of the prefix, ahead of those of the crops. In ``variant: reference`` they
  have the activation of the first picture, and are never replaced by a blank view.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from mmie.blocks.prefix_attention import Prefix
from mmie.blocks.reference_prefix import POSITIONS, ReferencePrefix
from mmie.blocks.vision import VisualOutput
from mmie.blocks.visual_prefix import Activation, PyramidPrefix, ScaleMapping
from mmie.methods import papers
from mmie.methods.inspection import inspecting
from mmie.methods.multimodal import MultimodalModule
from mmie.types import Batch, Encoding, Schema

Variant = Literal["paper", "reference"]
MissingCrops = Literal["attend", "mask"]
_ALL_SCALES = (1, 2, 3, 4)


class HVPNet(MultimodalModule):
    """Hierarchical visual prefix.

    Args:
        schema: Description of the data. The command line links it from the data module.
        variant: ``paper``, or ``reference`` for the computation of the published code.
        mapping: ``dynamic`` gates the scales in every layer, ``one_to_three`` gives stage i to
            three layers, ungated.
        scales: Stages that are used, 1 to 4.
        pool_to: Height and width that the stages are pooled to. RSRNeT's Equations 4 and 5 give 7
            as printed, its text and the published code 2.
        activation: Activation of the gates.
        crop_activation: Activation of the gates of crops in ``variant: reference``, if it is
            another.
        use_image: Use the visual prefix. False leaves the text encoder alone.
        missing_crops: ``attend`` gives crops that a readable picture lacks the features of a blank
            view, ``mask`` masks them. The default is ``attend`` in ``variant: reference``, which
            the published weights expect, else ``mask``.
        **shared: See `MultimodalModule` and `ExtractionModule`.

    Raises:
        ValueError: A switch does not exist in the variant, or the text encoder has too few
            positions for the variant's shift.
    """

    paper = papers.HVPNET
    vision_output: ClassVar[VisualOutput] = "stages"
    shifts_positions: ClassVar[bool] = False
    """Whether the published code counts the prefix in the positions of the text."""

    def __init__(
        self,
        schema: Schema,
        variant: Variant = "paper",
        mapping: ScaleMapping = "dynamic",
        scales: Sequence[int] = _ALL_SCALES,
        pool_to: int = 2,
        activation: Activation = "leaky_relu",
        crop_activation: Activation | None = None,
        use_image: bool = True,
        missing_crops: MissingCrops | None = None,
        **shared: Any,
    ) -> None:
        self.vision_pool_to = pool_to
        super().__init__(schema, **shared)
        is_reference = variant == "reference"
        if is_reference and (mapping, tuple(scales), pool_to) != ("dynamic", _ALL_SCALES, 2):
            raise ValueError(
                "variant reference has neither mapping one_to_three, scales nor pool_to: "
                "use variant paper"
            )
        if crop_activation is not None and not is_reference:
            raise ValueError(
                "crop_activation is a switch of variant reference; "
                "variant paper gates all views alike"
            )
        text = self.text
        sizes = (self.vision.channels, text.hidden_size, text.num_layers, text.num_heads)
        self.visual_prefix: PyramidPrefix | ReferencePrefix | None = None
        self.position_shift = 0
        if use_image:
            text.check_reads_prefix()
            if is_reference:
                self.visual_prefix = ReferencePrefix(
                    *sizes, activation, crop_activation, num_images=schema.num_images
                )
                if self.shifts_positions:
                    self.position_shift = POSITIONS * schema.num_views
            else:
                self.visual_prefix = PyramidPrefix(*sizes, mapping, scales, activation, pool_to)
        self.check_positions(self.position_shift)
        default_missing_crops = "attend" if is_reference else "mask"
        self.missing_crops: str = missing_crops or default_missing_crops
        if use_image and self.missing_crops == "attend":
            self.vision.keep_blank_features()

    def encode(self, batch: Batch) -> Encoding:
        """Run the text encoder with the visual prefix in every layer (Section 3.3)."""
        return Encoding(self.encode_text(batch, self.prefix(batch), self.position_shift))

    def prefix(self, batch: Batch) -> Prefix | None:
        """Compute keys and values of the views, four positions each (Equations 2 to 7).

        Returns:
            (layers, batch, heads, 4 * views, head_size) each, None without images.
        """
        if self.visual_prefix is None:
            return None
        prefix: Prefix = self.visual_prefix(*self._views(batch))
        return prefix

    def _views(self, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """Return the stages of all views, and which views are attended to.

        Returns:
            Four of (batch, views, channels, 2, 2), and a mask (batch, views) bool.
        """
        stages = self.encode_images(batch)
        if self.missing_crops == "mask":
            return stages, batch.view_mask
        num_images = self.schema.num_images
        has_picture = batch.view_mask[:, :num_images].any(1, keepdim=True)  # (batch, 1)
        missing = has_picture & ~batch.view_mask  # (batch, views)
        missing[:, :num_images] = False
        chosen = missing[..., None, None, None]  # (batch, views, 1, 1, 1)
        filled = [
            torch.where(chosen, blank.to(stage.dtype), stage)
            for blank, stage in zip(self.vision.blank, stages, strict=True)
        ]
        return filled, batch.view_mask | missing

    def prefix_views(self, num_views: int) -> Tensor | None:
        """Return the view of each prefix position, (heads, prefix), None without images."""
        return None if self.visual_prefix is None else self.visual_prefix.position_views(num_views)

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """Add ``gates`` to the numbers of `ExtractionModule.diagnose`.

        ======= ============================== =====================================================
        gates   (batch, layers, views, scales) weight of every scale; they sum to 1, and are 0 on
                                               masked views, which blank crops are not
        ======= ============================== =====================================================
        """
        if self.visual_prefix is None:
            return super().diagnose(batch)
        with inspecting(self):
            stages, view_mask = self._views(batch)
            gates = self.visual_prefix.gate_weights(stages)  # (layers, batch, views, scales)
            gates = gates.transpose(0, 1) * view_mask[:, None, :, None]
            return {**super().diagnose(batch), "gates": gates}
