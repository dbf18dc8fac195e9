"""Modules that are traced to ONNX graphs, their example inputs, and the axes of any length."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmie.blocks.heads import RelationHead
from mmie.blocks.recurrent import SYMBOLS, CharacterEncoder
from mmie.blocks.vision import VisualBackbone
from mmie.methods import ExtractionModule
from mmie.methods.multimodal import MultimodalModule
from mmie.types import Batch


class ModelGraph(nn.Module):
    """A method as a function from named tensors to its head's scores.

    Args:
        method: The method.
        names: Names of the tensors, in the order of the arguments.
    """

    def __init__(self, method: ExtractionModule, names: Sequence[str]) -> None:
        super().__init__()
        self.method = method
        self.names = tuple(names)

    def forward(self, *tensors: Tensor) -> Tensor:
        """Compute emissions (batch, words, tags), or logits (batch, labels)."""
        return self.method.scores(_to_batch(dict(zip(self.names, tensors, strict=True))))


class VisionGraph(nn.Module):
    """A backbone as a function from pictures to features.

    Args:
        backbone: The backbone.
    """

    def __init__(self, backbone: VisualBackbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pictures (pictures, 3, size, size) uint8 to features (pictures, width)."""
        return self.backbone.flatten(self.backbone(pixels))


class _SymbolicBatch(Batch):
    """A batch whose length is that of its tensors, since ``torch.export`` traces it with no ids."""

    def __len__(self) -> int:
        return self.input_ids.shape[0]


def model_inputs(
    method: ExtractionModule, batch: int, tokens: int, words: int, seed: int = 0
) -> dict[str, Tensor]:
    """Draw random inputs of a `ModelGraph`: texts of several lengths, some views missing.

    Args:
        method: The method.
        batch: Number of posts.
        tokens: Number of tokens of the longest post.
        words: Number of words.
        seed: Seed of the random numbers.

    Returns:
        The inputs by name.
    """
    generator = torch.Generator().manual_seed(seed)
    schema = method.schema

    def draw(high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=generator)

    lengths = torch.linspace(tokens, tokens // 2, batch).long().unsqueeze(1)  # (batch, 1)
    attention_mask = torch.arange(tokens) < lengths  # (batch, tokens)
    view_mask = draw(2, batch, schema.num_views) > 0  # (batch, views)
    token_words = draw(words, batch, tokens).sort(dim=1).values  # (batch, tokens)
    inputs = {
        "input_ids": draw(schema.vocab_size, batch, tokens) * attention_mask,
        "attention_mask": attention_mask,
        "token_type_ids": torch.zeros(batch, tokens, dtype=torch.long),
        "token_words": torch.where(attention_mask, token_words, -1),
        "view_mask": view_mask,
    }
    if isinstance(method.head, RelationHead):
        inputs["markers"] = draw(tokens // 2, batch, 2)
    else:
        inputs["word_starts"] = draw(tokens // 2, batch, words)
    if reads_characters(method):
        inputs["characters"] = draw(SYMBOLS, batch, words, words)
    return inputs | _visual_inputs(method, view_mask, generator)


def reads_characters(method: ExtractionModule) -> bool:
    """Tell whether a method reads the characters of words."""
    return any(isinstance(part, CharacterEncoder) for part in method.modules())


def _visual_inputs(
    method: ExtractionModule, view_mask: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """Draw features or pixels of views, as far as the method reads them.

    Args:
        method: The method.
        view_mask: (batch, views) bool; the features of other views are 0.
        generator: Source of the random numbers.
    """
    if isinstance(method, MultimodalModule):
        shape = (*view_mask.shape, method.vision.width)
        features = torch.randn(shape, generator=generator)
        return {"features": features * view_mask.unsqueeze(-1)}  # (batch, views, width)
    if method.reads_pixels:
        size = method.schema.image_size
        shape = (*view_mask.shape, 3, size, size)
        pixels = torch.randint(256, shape, generator=generator)
        return {"pixels": pixels.to(torch.uint8)}  # (batch, views, 3, size, size)
    return {}


def vision_inputs(backbone: VisualBackbone, counts: Sequence[int]) -> list[dict[str, Tensor]]:
    """Draw random inputs of a `VisionGraph`, one for each number of pictures."""
    generator = torch.Generator().manual_seed(0)
    shape = (3, backbone.image_size, backbone.image_size)
    inputs = []
    for count in counts:
        pixels = torch.randint(256, (count, *shape), generator=generator)
        inputs.append({"pixels": pixels.to(torch.uint8)})
    return inputs


def model_axes(max_tokens: int) -> dict[str, dict[int, Any]]:
    """Return the axes of any length of each input of a `ModelGraph`."""
    batch, words = torch.export.Dim("batch"), torch.export.Dim("words")
    text_axes = {0: batch, 1: torch.export.Dim("tokens", max=max_tokens)}
    axes: dict[str, dict[int, Any]] = {"word_starts": {0: batch, 1: words}}
    axes["characters"] = {0: batch, 1: words, 2: torch.export.Dim("characters")}
    for name in ("input_ids", "attention_mask", "token_type_ids", "token_words"):
        axes[name] = text_axes
    for name in ("markers", "view_mask", "features", "pixels"):
        axes[name] = {0: batch}
    return axes


def _to_batch(inputs: Mapping[str, Tensor]) -> Batch:
    """Build a batch of the graph's inputs, with the ids in fields that no encoder reads."""
    input_ids = inputs["input_ids"]
    return _SymbolicBatch(
        ids=(),
        counted=input_ids,
        index=input_ids,
        input_ids=input_ids,
        attention_mask=inputs["attention_mask"],
        token_type_ids=inputs["token_type_ids"],
        token_words=inputs["token_words"],
        word_starts=inputs.get("word_starts", input_ids),
        word_mask=input_ids,
        characters=inputs.get("characters", input_ids),
        view_mask=inputs["view_mask"],
        pixels=inputs.get("pixels"),
        markers=inputs.get("markers"),
        features={"vision": inputs["features"]} if "features" in inputs else {},
    )
