"""HVPNet (baseline): a hierarchical visual prefix before the keys and values of every text layer.

Chen et al., Good Visual Guidance Makes A Better Extractor, Findings of NAACL 2022, https://arxiv.org/abs/2205.03521

1. A frozen ResNet-50 gives four feature maps of every view, each pooled to 2 x 2.
2. Each map becomes four vectors as wide as the text.
3. In every text layer a gate per view weighs the four scales.
4. The views stand one after another, 4 positions each, and give the layer's prefix keys and values.
5. The text encoder attends to them in every layer; the shared head reads its states.

==========================  ==================================  ==============================================
paper                       here                                shape
==========================  ==================================  ==============================================
pyramid (Section 3.1)       `MultimodalModule.encode_images`             4 x (batch, views, channels, 2, 2)
V_i, gates, prefix          `PyramidPrefix`                     (layers, batch, heads, 4 * views, head_size)
(Equations 2-7)             (`mmie.blocks.visual_prefix`)
attention (Section 3.3)     `mmie.blocks.prefix_attention`      (batch, tokens, hidden)
==========================  ==================================  ==============================================

**Departures.** The published code differs from the paper in how it cuts the pooled maps into vectors and heads, and
shifts text positions by the prefix; ``variant: reference`` computes what that code computes, the default what the
paper says. A view that is not there is masked; the published code puts another picture in its place.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor

from mmie.blocks.prefix_attention import Prefix
from mmie.blocks.reference_prefix import ReferencePrefix
from mmie.blocks.vision import VisualOutput
from mmie.blocks.visual_prefix import POSITIONS, Activation, PyramidPrefix, ScaleMapping
from mmie.methods import papers
from mmie.methods.inspection import inspecting
from mmie.methods.multimodal import MultimodalModule
from mmie.types import Batch, Encoding, Schema

Variant = Literal["paper", "reference"]


class HVPNet(MultimodalModule):
    """Hierarchical visual prefix.

    Args:
        schema: What the data module says of the data; the command line links it.
        variant: ``paper``, or ``reference`` for what the published code computes.
        mapping: ``dynamic`` gates the scales in every layer; ``one_to_three`` gives stage i to three layers, ungated.
        scales: Stages that take part, 1 to 4.
        activation: Of the gates.
        crop_activation: Of the gates of crops in ``variant: reference``, where it is another.
        use_image: False leaves the text encoder alone.
        **shared: See `MultimodalModule` and `ExtractionModule`.

    Raises:
        ValueError: A switch that the variant does not have, or too few positions for the variant's shift.
    """

    paper = papers.HVPNET
    vision_output: ClassVar[VisualOutput] = "stages"
    vision_pool_to: ClassVar[int | None] = 2

    def __init__(
        self,
        schema: Schema,
        variant: Variant = "paper",
        mapping: ScaleMapping = "dynamic",
        scales: Sequence[int] = (1, 2, 3, 4),
        activation: Activation = "leaky_relu",
        crop_activation: Activation | None = None,
        use_image: bool = True,
        **shared: Any,
    ) -> None:
        super().__init__(schema, **shared)
        reference = variant == "reference"
        if reference and (mapping != "dynamic" or tuple(scales) != (1, 2, 3, 4)):
            raise ValueError(
                "variant reference has neither mapping one_to_three nor scales: use variant paper"
            )
        if crop_activation is not None and not reference:
            raise ValueError(
                "crop_activation is a switch of variant reference; variant paper gates all views alike"
            )
        sizes = (
            self.vision.channels,
            self.text.hidden_size,
            self.text.num_layers,
            self.text.num_heads,
        )
        self.visual_prefix: PyramidPrefix | ReferencePrefix | None = None
        if use_image:
            self.text.check_reads_prefix()
        if use_image and reference:
            self.visual_prefix = ReferencePrefix(*sizes, activation, crop_activation)
        elif use_image:
            self.visual_prefix = PyramidPrefix(*sizes, mapping, scales, activation)
        self.position_shift = POSITIONS * (1 + schema.num_objects) if use_image and reference else 0
        self.check_positions(self.position_shift)

    def encode(self, batch: Batch) -> Encoding:
        """A pass of the text encoder with the visual prefix in every layer."""
        return Encoding(self.encode_text(batch, self.prefix(batch), self.position_shift))

    def prefix(self, batch: Batch) -> Prefix | None:
        """Keys and values of the views, four positions each."""
        if self.visual_prefix is None:
            return None
        prefix: Prefix = self.visual_prefix(self.encode_images(batch), batch.view_mask)
        return prefix

    def prefix_views(self, num_views: int) -> Tensor | None:
        """Four positions a view."""
        return None if self.visual_prefix is None else self.visual_prefix.position_views(num_views)

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """What `ExtractionModule.diagnose` gives, and ``gates``.

        ======== ================================ ================================================================
        gates    (batch, layers, views, scales)   weight of every scale; they sum to 1, and are 0 on masked views
        ======== ================================ ================================================================
        """
        if self.visual_prefix is None:
            return super().diagnose(batch)
        with inspecting(self):
            gates = self.visual_prefix.gate_weights(self.encode_images(batch)).transpose(0, 1)
            return {**super().diagnose(batch), "gates": gates * batch.view_mask[:, None, :, None]}
