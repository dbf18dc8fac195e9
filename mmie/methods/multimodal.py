"""Base class of the methods that read images by a visual backbone."""

from typing import Any, ClassVar

from torch import Tensor, nn

from mmie.blocks.features import FeatureSpec, backbone_feature_spec, cached_or_computed_features
from mmie.blocks.vision import VisualBackbone, VisualOutput
from mmie.methods.base import ExtractionModule
from mmie.types import Batch, Schema


class MultimodalModule(ExtractionModule):
    """Method with a visual backbone.

    A subclass reads images through `encode_images` alone, so that the cached features of a frozen
    backbone can replace pixels.

    Args:
        schema: Description of the data. The command line links it from the data module.
        vision_backbone: Name of a ``timm`` model, or local folder of one.
        freeze_vision: Do not train the visual backbone: eval mode, no gradient, no graph. Batch
            norms of a trained one use the batch of their own process, unless
            ``trainer.sync_batchnorm`` is set (on GPUs).
        pretrained_vision: Load the backbone's weights. Use false where only the text encoder's are
            at hand.
        **shared: See `ExtractionModule`.
    """

    vision_output: ClassVar[VisualOutput]
    """Output of the visual backbone that the method uses."""
    vision_pool_to: int | None = None
    """Height and width that feature maps are pooled to, None for no pooling."""

    def __init__(
        self,
        schema: Schema,
        vision_backbone: str = "resnet50",
        freeze_vision: bool = True,
        pretrained_vision: bool = True,
        **shared: Any,
    ) -> None:
        super().__init__(schema, **shared)
        self.vision = VisualBackbone(
            vision_backbone,
            self.pretrained and pretrained_vision,
            self.vision_output,
            freeze_vision,
            schema.image_size,
            self.vision_pool_to,
        )

    def encode_images(self, batch: Batch) -> list[Tensor]:
        """Return the visual features of a batch, 0 for masked views.

        Returns:
            (batch, views, ...) each: four stages, or one grid or vector.
        """
        return cached_or_computed_features(self.vision, "vision", batch)

    @property
    def reads_pixels(self) -> bool:
        """Whether the backbone is trained."""
        return not self.vision.frozen

    def feature_specs(self) -> list[FeatureSpec]:
        """Specify the features of a frozen backbone."""
        return [backbone_feature_spec(self.vision, "vision")] if self.vision.frozen else []

    def pretrained_modules(self) -> list[nn.Module]:
        """Return the parts that train at ``text_lr``."""
        return [self.text, self.vision]

    def rebuild_args(self) -> dict[str, Any]:
        """Return constructor arguments that build the same network without a hub or folder."""
        return {**super().rebuild_args(), "vision_backbone": self.vision.architecture}
