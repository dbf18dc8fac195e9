"""Visual backbones: any timm model, frozen or trained, over the views of a batch."""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmie.blocks.errors import WeightsUnavailable

VisualOutput = Literal["stages", "grid", "pooled", "logits"]
NUM_STAGES = 4


class VisualBackbone(nn.Module):
    """A timm model that turns uint8 pictures into feature maps or vectors.

    =========== =============================================== =================================
    ``output``  gives, per picture                              suits
    =========== =============================================== =================================
    ``stages``  maps (channels_i, h_i, w_i) of the last 4 stages  ResNet, ResNeSt, ConvNeXt, Swin
    ``grid``    the last map (channels, h, w)                   the same, and ViT (patches only)
    ``pooled``  a vector (channels,)                            any model
    ``logits``  scores of its own classifier (classes,)         any model that has one
    =========== =============================================== =================================

    A frozen backbone stays in eval mode (its BatchNorm statistics never move), gets no gradient and keeps no graph. A
    trained one gets a gradient of 0 from a batch without a readable view: other processes may have some, and DDP waits
    for the gradients of all.

    Args:
        name: A timm architecture, with or without a tag of weights (``resnet50``, ``resnet50.a1_in1k``), a hub name
            (``hf-hub:timm/resnet50.a1_in1k``), or a folder that holds timm's ``config.json`` and weights.
        pretrained: Load weights; false initialises randomly.
        output: What to give.
        frozen: Never train it.
        image_size: Height and width of the pictures in pixels.
        pool_to: Average-pool each map with kernel = stride = floor(size / pool_to), as HVPNet does with 2.

    Attributes:
        shapes: Shape of each output for one picture.

    Raises:
        WeightsUnavailable: The weights are neither in the folder nor to be had from the hub.
        ValueError: No such model, or one that cannot give this output at this size.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str | Path,
        pretrained: bool = True,
        output: VisualOutput = "pooled",
        frozen: bool = True,
        image_size: int = 224,
        pool_to: int | None = None,
    ) -> None:
        super().__init__()
        self.name, self.output, self.frozen = str(name), output, frozen
        self.image_size, self.pool_to = image_size, pool_to
        self.model = _create(self.name, pretrained, with_classifier=output == "logits")
        if hasattr(
            self.model, "set_input_size"
        ):  # a transformer's position embeddings fit one size
            self.model.set_input_size(img_size=(image_size, image_size))
        for statistic in ("mean", "std"):
            values = torch.tensor(self.model.pretrained_cfg[statistic]).view(3, 1, 1) * 255
            self.register_buffer(statistic, values)  # in pixel values, 0 to 255
        self.model.requires_grad_(not frozen)
        self.shapes = self._probe()
        self.train()

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each output."""
        return tuple(shape[0] for shape in self.shapes)

    @property
    def architecture(self) -> str:
        """Timm's name of the architecture, which builds the same network where no weights are at hand."""
        return str(self.model.pretrained_cfg["architecture"])

    @property
    def width(self) -> int:
        """Numbers in all outputs for one picture together."""
        return sum(math.prod(shape) for shape in self.shapes)

    def identity(self) -> dict[str, str | int | None]:
        """All that its outputs depend on beside the picture: equal identities give equal features."""
        return {
            "architecture": self.architecture,
            "weights": digest_weights(self),
            "output": self.output,
            "image_size": self.image_size,
            "pool_to": self.pool_to,
        }

    def flatten(self, features: Sequence[Tensor]) -> Tensor:
        """All outputs side by side: (pictures, *shape) each -> (pictures, width)."""
        return torch.cat([part.flatten(1) for part in features], dim=1)

    def unflatten(self, rows: Tensor) -> list[Tensor]:
        """What `flatten` put side by side: (batch, views, width) -> (batch, views, *shape) each."""
        parts = rows.to(self.mean.dtype).split([math.prod(shape) for shape in self.shapes], dim=-1)
        return [part.unflatten(-1, shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def train(self, mode: bool = True) -> "VisualBackbone":
        """Training mode, unless frozen."""
        return super().train(mode and not self.frozen)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Features of pictures.

        Args:
            pixels: (pictures, 3, height, width) uint8 RGB.

        Returns:
            Four maps for ``stages``, one for ``grid``, one vector for the others; (pictures, *shape) each.

        Raises:
            ValueError: The pictures are not of ``image_size``.
        """
        if pixels.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(
                f"pictures are {tuple(pixels.shape[-2:])} pixels, backbone '{self.name}' was built for "
                f"{self.image_size} x {self.image_size}: set image_size to the size of the pictures"
            )
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            normalised = (pixels.to(self.mean.dtype) - self.mean) / self.std
            if self.output in ("pooled", "logits"):
                return [self.model(normalised)]
            return [self._pool(features) for features in self._maps(normalised)]

    def encode_views(
        self, pixels: Tensor | None, view_mask: Tensor, readable: Tensor | None = None
    ) -> list[Tensor]:
        """Features of the readable views; the others are not computed.

        Args:
            pixels: (batch, views, 3, height, width) uint8 RGB; None if no view is readable.
            view_mask: (batch, views) bool, True on readable views.
            readable: (readable views,) their places in the flattened mask; None finds them, which waits for the device.

        Returns:
            One (batch, views, *shape) per output, exactly zero where masked.
        """
        if readable is None:
            readable = view_mask.flatten().nonzero().squeeze(1)
        if pixels is None or len(readable) == 0:
            idle = 0.0 if self.frozen else zero_loss_for_unused(self.model)
            return [self.mean.new_zeros(*view_mask.shape, *shape) + idle for shape in self.shapes]
        seen = self(pixels.flatten(0, 1).index_select(0, readable))  # (readable views, *shape) each
        return [_spread(features, readable, view_mask) for features in seen]

    def _maps(self, pictures: Tensor) -> list[Tensor]:
        """Maps (pictures, channels, h, w) of the last stages, or the last one after the model's final norm."""
        last, norm = (NUM_STAGES, False) if self.output == "stages" else (1, True)
        maps: list[Tensor] = self.model.forward_intermediates(
            pictures, indices=last, norm=norm, output_fmt="NCHW", intermediates_only=True
        )
        return maps

    def _pool(self, features: Tensor) -> Tensor:
        """(pictures, channels, h, w) -> (pictures, channels, pool_to, pool_to) if asked for."""
        if self.pool_to is None:
            return features
        height, width = features.shape[-2:]
        return functional.avg_pool2d(features, (height // self.pool_to, width // self.pool_to))

    @torch.no_grad()
    def _probe(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the outputs for one picture; an error here is one that every batch would meet."""
        if self.output == "stages" and not _has_stages(self.model):
            raise ValueError(
                f"backbone '{self.name}' has no {NUM_STAGES} stages: use output grid or pooled"
            )
        if self.output == "logits" and self.model.num_classes < 2:
            raise ValueError(
                f"backbone '{self.name}' has no classifier: name one that was trained to classify"
            )
        if self.pool_to is not None and self.output in ("pooled", "logits"):
            raise ValueError("pool_to pools maps: use it with output stages or grid")
        self.eval()
        blank = torch.zeros(1, 3, self.image_size, self.image_size, dtype=torch.uint8)
        try:
            shapes = tuple(tuple(features.shape[1:]) for features in self(blank))
        except (AssertionError, RuntimeError) as error:
            raise ValueError(
                f"backbone '{self.name}' cannot give {self.output} of pictures of {self.image_size} pixels: {error}"
            ) from error
        if self.pool_to is not None and any(
            shape[1:] != (self.pool_to, self.pool_to) for shape in shapes
        ):
            raise ValueError(
                f"maps of backbone '{self.name}' do not pool to {self.pool_to} x {self.pool_to} from pictures of "
                f"{self.image_size} pixels: use a larger image_size, a multiple of {32 * self.pool_to}"
            )
        return shapes


def zero_loss_for_unused(*modules: nn.Module) -> Tensor:
    """0, with a gradient of 0 for every weight of modules that have nothing to do in a step.

    Other processes may have something for it, and DDP waits for the gradients of all.
    """
    sums = [
        weight.sum() for module in modules for weight in module.parameters() if weight.requires_grad
    ]
    return torch.zeros(()) if not sums else torch.stack(sums).sum().mul(0)


def digest_weights(module: nn.Module) -> str:
    """SHA-256 of all weights and buffers, names included."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _create(name: str, pretrained: bool, with_classifier: bool) -> Any:
    """The timm model, with or without its classifier."""
    source = f"local-dir:{name}" if (Path(name) / "config.json").is_file() else name
    if ":" not in source and not timm.is_model(source):
        raise ValueError(
            f"vision backbone '{name}' is neither a timm architecture nor a folder with a config.json of timm "
            "(a model on the hub is written hf-hub:owner/name)"
        )
    try:
        head: dict[str, Any] = {} if with_classifier else {"num_classes": 0}
        return timm.create_model(source, pretrained=pretrained, **head)
    except Exception as error:  # timm raises almost anything on damaged files
        raise WeightsUnavailable(
            f"vision backbone '{name}' cannot be loaded ({_first_line(error)}); offline, name a local folder with "
            "timm's config.json and model.safetensors, or an architecture such as resnet50 with pretrained: false"
        ) from error


def _first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"


def _has_stages(model: nn.Module) -> bool:
    """Whether the last four features get coarser from one to the next, which those of a plain ViT do not."""
    features = getattr(model, "feature_info", [])
    reductions = [feature["reduction"] for feature in features][-NUM_STAGES:]
    return len(reductions) == NUM_STAGES and sorted(set(reductions)) == reductions


def _spread(features: Tensor, readable: Tensor, view_mask: Tensor) -> Tensor:
    """(readable views, ...) -> (batch, views, ...), zero where masked."""
    spread = features.new_zeros(view_mask.numel(), *features.shape[1:])
    spread = spread.index_copy(0, readable, features)
    return spread.view(*view_mask.shape, *features.shape[1:])
