"""Embedding of a picture as a start token and a linear projection of its patches."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from mmie.blocks.errors import WeightsUnavailable
from mmie.blocks.text_encoder import TextEncoder
from mmie.blocks.vision import VisualBackbone
from mmie.blocks.weights import trainable_copy


class PatchEmbedding(nn.Module):
    """Start token and linear projection of patches, with positions and a norm.

        LN([v_cls ; patches W + b] + positions + type)

    Source: Lu and Guo, Implicit Modality Mining, Journal of Electronic Research and Application,
    March 2024, Equation 2; the norm LN is added here, as BERT's own embeddings have it.

    Args:
        text: Text encoder, which gives the width and the norm of its own embeddings.
        image_size: Height and width of a picture in pixels.
        patch_size: Height and width of a patch in pixels.
        source: A timm ViT, by name or folder, to take weights from; None starts randomly.

    Raises:
        ValueError: The patches do not fill the picture, or the source is no ViT with a start token.
        WeightsUnavailable: The source's weights cannot be loaded.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, text: TextEncoder, image_size: int, patch_size: int, source: str | None
    ) -> None:
        super().__init__()
        if patch_size < 1 or image_size % patch_size:
            raise ValueError(
                f"pictures are {image_size} pixels wide, patch_size is {patch_size}: "
                "it must divide them"
            )
        hidden = text.hidden_size
        num_patches = (image_size // patch_size) ** 2
        self.image_size = image_size
        self.patch_size = patch_size
        self.projection = nn.Conv2d(3, hidden, patch_size, stride=patch_size)
        self.start = nn.Embedding(1, hidden)
        self.kind = nn.Embedding(1, hidden)
        self.positions = nn.Embedding(1 + num_patches, hidden)
        for table in (self.start, self.kind, self.positions):
            nn.init.normal_(table.weight, std=text.config.initializer_range)
        embeddings: Any = text.model.embeddings
        self.norm = trainable_copy(embeddings.LayerNorm)
        self.dropout = trainable_copy(embeddings.dropout)
        for statistic in ("mean", "std"):
            half = torch.full((3, 1, 1), 127.5)  # in pixel values, 0 to 255
            self.register_buffer(statistic, half)
        if source is not None:
            self._load(source)

    def forward(self, pictures: Tensor) -> Tensor:
        """Embed pictures.

        Args:
            pictures: (pictures, 3, height, width) in pixel values, 0 to 255.

        Returns:
            (pictures, 1 + patches, hidden)
        """
        normalised = (pictures.to(self.mean.dtype) - self.mean) / self.std
        patches = self.projection(normalised)  # (pictures, hidden, rows, columns)
        start = self.start.weight.to(patches.dtype)  # (1, hidden)
        start = start.expand(len(pictures), -1, -1)  # (pictures, 1, hidden)
        patches = patches.flatten(2).transpose(1, 2)  # (pictures, patches, hidden)
        tokens = torch.cat([start, patches], dim=1)  # (pictures, 1 + patches, hidden)
        tokens = tokens + self.positions.weight + self.kind.weight
        embedded: Tensor = self.dropout(self.norm(tokens))
        return embedded

    @torch.no_grad()
    def _load(self, source: str) -> None:
        """Take the weights of a ViT of the same width, resampled to these sizes, or else warn."""
        backbone = _load_vit(source, self.image_size)
        vit = backbone.model
        hidden = self.projection.out_channels
        if vit.embed_dim != hidden:
            warnings.warn(
                f"patch_embedding '{source}' is {vit.embed_dim} wide, the text encoder {hidden}: "
                "it starts random",
                stacklevel=2,
            )
            return
        vit.set_input_size(
            img_size=(self.image_size, self.image_size),
            patch_size=(self.patch_size, self.patch_size),
        )
        if vit.pos_embed.shape[1] != self.positions.num_embeddings:
            raise ValueError(
                f"patch_embedding '{source}' has no position for its start token: name another ViT"
            )
        projection = vit.patch_embed.proj
        bias = torch.zeros(hidden) if projection.bias is None else projection.bias
        self.projection.weight.copy_(projection.weight)
        self.projection.bias.copy_(bias)  # type: ignore[union-attr]
        self.start.weight.copy_(vit.cls_token[0])
        self.positions.weight.copy_(vit.pos_embed[0])
        self.mean.copy_(backbone.mean)
        self.std.copy_(backbone.std)


def _load_vit(source: str, image_size: int) -> VisualBackbone:
    """Load a ViT with its weights and the statistics of the pictures that it was trained on."""
    try:
        backbone = VisualBackbone(source, image_size=image_size)
    except WeightsUnavailable as error:
        raise WeightsUnavailable(
            f"{error}; or set patch_embedding: null to start the patches randomly"
        ) from error
    for part in ("patch_embed", "cls_token", "pos_embed"):
        if getattr(backbone.model, part, None) is None:
            raise ValueError(
                f"patch_embedding '{source}' has no patches, start token and positions: name a ViT"
            )
    return backbone
