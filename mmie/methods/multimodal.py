"""Base class of the methods that read images."""

from typing import Any, ClassVar

from torch import Tensor, nn

from mmie.blocks.features import FeatureSpec, backbone_feature_spec, cached_or_computed_features
from mmie.blocks.vision import VisualBackbone, VisualOutput
from mmie.methods.base import ExtractionModule
from mmie.types import Batch, Schema


class MultimodalModule(ExtractionModule):
    """A method that looks at the picture, by `encode_images` alone: a frozen backbone's features may come without pixels.

    Args:
        schema: What the data module says of the data; the command line links it.
        vision_backbone: Name of a ``timm`` model, or local folder of one.
        freeze_vision: Keep the visual backbone as it is: eval mode, no gradient, no graph. Batch norms of one that is
            trained see the batch of their own process, unless ``trainer.sync_batchnorm`` is set (on GPUs).
        pretrained_vision: Load the backbone's weights; false where only the text encoder's are at hand.
        **shared: See `ExtractionModule`.
    """

    vision_output: ClassVar[VisualOutput]
    """What the method wants of the visual backbone."""
    vision_pool_to: ClassVar[int | None] = None
    """Height and width to which it wants feature maps pooled."""

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
        """Features of the views, (batch, views, ...) each: four stages, or one grid or vector; 0 where masked."""
        return cached_or_computed_features(self.vision, "vision", batch)

    @property
    def reads_pixels(self) -> bool:
        """Only where the backbone is trained."""
        return not self.vision.frozen

    def feature_specs(self) -> list[FeatureSpec]:
        """The features of a frozen backbone."""
        return [backbone_feature_spec(self.vision, "vision")] if self.vision.frozen else []

    def pretrained_modules(self) -> list[nn.Module]:
        """Parts that train at ``text_lr``."""
        return [self.text, self.vision]

    def rebuild_args(self) -> dict[str, Any]:
        """Constructor arguments that build the same network where neither hub nor folder is at hand."""
        return {**super().rebuild_args(), "vision_backbone": self.vision.architecture}
