"""Visual backbones: any timm model, frozen or trained, over the views of a batch."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmie.blocks.errors import WeightsUnavailable
from mmie.blocks.folding import fold_batch_norms
from mmie.blocks.weights import digest_weights, zero_for_unused
from mmie.utils.text import describe_error

VisualOutput = Literal["stages", "grid", "pooled", "logits"]
NUM_STAGES = 4
_LAST_STRIDE = 32
"""Pixels of a picture for each position of the last stage, in most backbones."""


class VisualBackbone(nn.Module):
    """Timm model that turns uint8 pictures into feature maps or vectors.

    =========== ================================================= ============================
    ``output``  result for a picture                              suitable models
    =========== ================================================= ============================
    ``stages``  maps (channels_i, h_i, w_i) of the last 4 stages  ResNet, ResNeSt, ConvNeXt, Swin
    ``grid``    the last map (channels, h, w)                     the same, and ViT (patches only)
    ``pooled``  a vector (channels,)                              any model
    ``logits``  scores of its own classifier (classes,)           any model that has one
    =========== ================================================= ============================

    A frozen backbone stays in eval mode (its BatchNorm statistics never change), gets no gradient
    and keeps no graph. It computes with a copy whose batch norms are folded into convolutions (see
    `mmie.blocks.folding`), which is no part of its state. A trained one gets a gradient of 0 from a
    batch without a readable view, because DDP waits for the gradients of all weights, which other
    processes may use.

    Args:
        name: A timm architecture, with or without a tag of weights (``resnet50``,
            ``resnet50.a1_in1k``), a hub name (``hf-hub:timm/resnet50.a1_in1k``), or a folder that
            holds timm's ``config.json`` and weights.
        pretrained: Load weights; false initialises randomly.
        output: Kind of features.
        frozen: Never train it.
        image_size: Height and width of the pictures in pixels.
        pool_to: Average-pool each map with kernel = stride = floor(size / pool_to), as HVPNet does
            with 2.

    Attributes:
        shapes: Shape of each output for one picture.
        blank: Features of a view of the mean colour, (*shape) each, after `keep_blank_features`.

    Raises:
        WeightsUnavailable: The weights are not in the folder and cannot be fetched from the hub.
        ValueError: The model does not exist, or has no such output at this size.
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
        self.name = str(name)
        self.output = output
        self.frozen = frozen
        self.image_size = image_size
        self.pool_to = pool_to
        self.model = _create(self.name, pretrained, with_classifier=output == "logits")
        # A transformer's position embeddings fit one size only.
        if hasattr(self.model, "set_input_size"):
            self.model.set_input_size(img_size=(image_size, image_size))
        self.blank: list[Tensor] = []
        self._folded: tuple[int, nn.Module] | None = None
        self._statistics: dict[str, Tensor] = {}
        for name in ("mean", "std"):
            values = torch.tensor(self.model.pretrained_cfg[name], dtype=torch.float64)
            self._statistics[name] = 255 * values.view(3, 1, 1)  # in pixel values, 0 to 255
            self.register_buffer(name, self._statistics[name].to(torch.get_default_dtype()))
        register: Any = self.register_load_state_dict_post_hook  # has no annotations
        register(_take_over_statistics)
        self.model.requires_grad_(not frozen)
        self._check_output()
        self._folds = False  # a single picture does not pay for it
        self.shapes = self._probe_shapes()
        self._folds = frozen
        self.train()

    def keep_blank_features(self) -> None:
        """Keep the features of a blank view up to date in ``blank``.

        Raises:
            ValueError: The backbone is trained.
        """
        if not self.frozen:
            raise ValueError(
                "the features of a blank view are constant only if freeze_vision is true"
            )
        self._encode_blank()

    def _encode_blank(self) -> None:
        """Compute the features of a view of the mean colour, which is 0 once normalised."""
        zeros = self.mean.new_zeros(1, 3, self.image_size, self.image_size)
        with torch.no_grad():
            self.blank = [features.squeeze(0) for features in self._encode(zeros)]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or convert everything, keep mean and deviation exact, and renew the blank view."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if not self.mean.is_meta:
            self._refresh()
        return self

    def _fast_model(self) -> Any:
        """Return the model to compute with: a folded copy of a frozen one, made on first use."""
        if not self._folds or torch.compiler.is_compiling():
            return self.model
        tensors = [*self.model.parameters(), *self.model.buffers()]
        version = sum(tensor._version for tensor in tensors)  # grows with every change in place
        if self._folded is None or self._folded[0] != version:
            example = self.mean.new_zeros(1, 3, self.image_size, self.image_size)
            example += torch.linspace(-1, 1, self.image_size, device=example.device)
            self._folded = version, fold_batch_norms(self.model, example)
        return self._folded[1]

    def _refresh(self) -> None:
        """Recompute what depends on the type, the device or the weights."""
        self._folded = None
        for name, exact in self._statistics.items():
            getattr(self, name).copy_(exact)
        if self.blank:
            self._encode_blank()

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each output."""
        return tuple(shape[0] for shape in self.shapes)

    @property
    def architecture(self) -> str:
        """Timm's name of the architecture, which builds the same network without weights."""
        return str(self.model.pretrained_cfg["architecture"])

    @property
    def width(self) -> int:
        """Number of values in all outputs for one picture together."""
        return sum(math.prod(shape) for shape in self.shapes)

    @property
    def folds_batch_norms(self) -> bool:
        """Whether outputs are computed by a copy with batch norms folded into convolutions."""
        return self._folds and any(isinstance(m, nn.BatchNorm2d) for m in self.model.modules())

    def identity(self) -> dict[str, str | int | None]:
        """Return all that the outputs depend on beside the picture.

        Equal identities give equal features.
        """
        return {
            "architecture": self.architecture,
            "weights": digest_weights(self),
            "output": self.output,
            "image_size": self.image_size,
            "pool_to": self.pool_to,
        }

    def flatten(self, features: Sequence[Tensor]) -> Tensor:
        """Concatenate all outputs, (pictures, *shape) each, to rows (pictures, width)."""
        return torch.cat([part.flatten(1) for part in features], dim=1)

    def unflatten(self, rows: Tensor) -> list[Tensor]:
        """Split rows of `flatten` (batch, views, width) into outputs (batch, views, *shape)."""
        sizes = [math.prod(shape) for shape in self.shapes]
        parts = rows.to(self.mean.dtype).split(sizes, dim=-1)  # (batch, views, size) each
        return [part.unflatten(-1, shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def train(self, mode: bool = True) -> "VisualBackbone":
        """Set training mode, unless frozen."""
        return super().train(mode and not self.frozen)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Compute features of pictures.

        Args:
            pixels: (pictures, 3, height, width) RGB from 0 to 255, uint8 or of a floating type.

        Returns:
            Four maps for ``stages``, one for ``grid``, one vector for the others;
            (pictures, *shape) each.

        Raises:
            ValueError: The pictures are not of ``image_size``.
        """
        if pixels.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(
                f"pictures are {tuple(pixels.shape[-2:])} pixels, backbone '{self.name}' was built "
                f"for {self.image_size} x {self.image_size}: set image_size to the size of the "
                "pictures"
            )
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self._encode((pixels.to(self.mean.dtype) - self.mean) / self.std)

    def _encode(self, normalised: Tensor) -> list[Tensor]:
        """Compute features of normalised pictures, (pictures, 3, height, width)."""
        if self.output in ("pooled", "logits"):
            return [self._fast_model()(normalised)]
        return list(map(self._pool, self._maps(normalised)))

    def encode_views(
        self, pixels: Tensor | None, view_mask: Tensor, view_index: Tensor | None = None
    ) -> list[Tensor]:
        """Compute features of the readable views only.

        Args:
            pixels: (batch, views, 3, height, width) as in `forward`; None if no view is readable.
            view_mask: (batch, views) bool, True on readable views.
            view_index: (readable views,) indices of the readable views in the flattened mask. None
                computes them from the mask, for which the host waits for the GPU.

        Returns:
            For each output (batch, views, *its shape in ``shapes``), exactly 0 where masked.
        """
        if view_index is None:
            view_index = view_mask.flatten().nonzero().squeeze(1)  # (readable views,)
        if pixels is None or len(view_index) == 0:
            return self._zeros(view_mask)
        views = pixels.flatten(0, 1).index_select(0, view_index)
        features = self(views)  # (readable views, *shape) each
        return [_scatter_to_views(part, view_index, view_mask) for part in features]

    def _zeros(self, view_mask: Tensor) -> list[Tensor]:
        """Return features that are 0 for all views, with a gradient of 0 for trained weights.

        Args:
            view_mask: (batch, views) bool

        Returns:
            (batch, views, *shape) each.
        """
        zero = 0.0 if self.frozen else zero_for_unused(self.model)
        return [self.mean.new_zeros(*view_mask.shape, *shape) + zero for shape in self.shapes]

    def _maps(self, pictures: Tensor) -> list[Tensor]:
        """Compute maps (pictures, channels, h, w) of the last stages, or the last normed map."""
        last, norm = (NUM_STAGES, False) if self.output == "stages" else (1, True)
        maps: list[Tensor] = self._fast_model().forward_intermediates(
            pictures, indices=last, norm=norm, output_fmt="NCHW", intermediates_only=True
        )
        return maps

    def _pool(self, features: Tensor) -> Tensor:
        """Pool a map (pictures, channels, h, w) to (pictures, channels, pool_to, pool_to)."""
        if self.pool_to is None:
            return features
        height, width = features.shape[-2:]
        return functional.avg_pool2d(features, (height // self.pool_to, width // self.pool_to))

    def _check_output(self) -> None:
        """Raise if the model lacks the output."""
        if self.output == "stages":
            # Stages get coarser from one to the next, which the layers of a plain ViT do not.
            layers = getattr(self.model, "feature_info", [])
            reductions = [layer["reduction"] for layer in layers][-NUM_STAGES:]
            if len(reductions) < NUM_STAGES or sorted(set(reductions)) != reductions:
                raise ValueError(
                    f"backbone '{self.name}' has no {NUM_STAGES} stages: use output grid or pooled"
                )
        if self.output == "logits" and self.model.num_classes < 2:
            raise ValueError(
                f"backbone '{self.name}' has no classifier: name one that was trained to classify"
            )
        if self.pool_to is not None and self.output in ("pooled", "logits"):
            raise ValueError("pool_to pools maps: use it with output stages or grid")

    @torch.no_grad()
    def _probe_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Return the shape of every output, found with a blank picture.

        The module is left in eval mode.

        Raises:
            ValueError: The model cannot encode pictures of this size, or its maps do not pool to
                ``pool_to``. Every batch would fail in the same way.
        """
        self.eval()
        blank = torch.zeros(1, 3, self.image_size, self.image_size, dtype=torch.uint8)
        try:
            shapes = tuple(tuple(features.shape[1:]) for features in self(blank))
        except (AssertionError, RuntimeError) as error:
            raise ValueError(
                f"backbone '{self.name}' cannot give {self.output} of pictures of "
                f"{self.image_size} pixels: {error}"
            ) from error
        for _, *size in shapes:
            if self.pool_to is not None and size != [self.pool_to, self.pool_to]:
                raise ValueError(
                    f"maps of backbone '{self.name}' do not pool to {self.pool_to} x "
                    f"{self.pool_to} from pictures of {self.image_size} pixels: use a larger "
                    f"image_size, a multiple of {_LAST_STRIDE * self.pool_to}"
                )
        return shapes


def _take_over_statistics(backbone: VisualBackbone, incompatible_keys: object) -> None:
    """Adopt the mean and deviation of loaded weights, unless they are ours in rounded form.

    A checkpoint rounds them to its own type; in float64 the rounded ones move features by 1e-7.
    """
    for name, exact in backbone._statistics.items():
        loaded = getattr(backbone, name).detach().to("cpu", torch.float64)
        if not torch.equal(loaded.float(), exact.float()):
            backbone._statistics[name] = loaded
    backbone._refresh()


def _create(name: str, pretrained: bool, with_classifier: bool) -> Any:
    """Create the timm model, with or without its classifier."""
    source = name
    # an architecture without weights reads no folder, whatever the working directory holds
    is_complete = timm.is_model(name) and not pretrained
    if not is_complete and (Path(name) / "config.json").is_file():
        source = f"local-dir:{name}"
    if ":" not in source and not timm.is_model(source):
        raise ValueError(
            f"vision backbone '{name}' is neither a timm architecture nor a folder with a "
            "config.json of timm (a model on the hub is written hf-hub:owner/name)"
        )
    try:
        settings: dict[str, Any] = {} if with_classifier else {"num_classes": 0}
        return timm.create_model(source, pretrained=pretrained, **settings)
    except Exception as error:  # timm raises almost anything on damaged files
        raise WeightsUnavailable(
            f"vision backbone '{name}' cannot be loaded ({describe_error(error)}); offline, name a "
            "local folder with timm's config.json and model.safetensors, or an architecture such "
            "as resnet50 with pretrained: false"
        ) from error


def _scatter_to_views(features: Tensor, view_index: Tensor, view_mask: Tensor) -> Tensor:
    """Put features of readable views into a tensor of all views.

    Args:
        features: (readable views, *shape)
        view_index: (readable views,) indices of the readable views in the flattened mask.
        view_mask: (batch, views) bool

    Returns:
        (batch, views, *shape), 0 where masked.
    """
    shape = features.shape[1:]
    scattered = features.new_zeros(view_mask.numel(), *shape)  # (batch * views, *shape)
    scattered = scattered.index_copy(0, view_index, features)
    return scattered.view(*view_mask.shape, *shape)
