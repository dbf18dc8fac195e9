"""Vectors of texts and pictures from a frozen CLIP, which is no part of any trained module or checkpoint.

Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel, CLIPProcessor

from mmie.blocks.errors import WeightsUnavailable
from mmie.blocks.text_encoder import unavailable_line
from mmie.utils.files import digest_path


class ClipVectors:
    """A frozen CLIP: texts and pictures as vectors of length 1 whose dot product says how well they match.

    It is no ``nn.Module``, so that a module that holds one neither trains nor saves it.

    Args:
        source: Hub name of a CLIP model, or local folder of one with its tokenizer and its image processor.
        device: Where to compute.

    Raises:
        WeightsUnavailable: The source is no folder here and cannot be had from the hub, or holds no CLIP.
    """

    def __init__(self, source: str | Path, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._model: Any
        self._model, self._processor = _load(str(source))
        self._model.eval().requires_grad_(False).to(self.device)

    @property
    def size(self) -> int:
        """Width of the vectors."""
        return int(self._model.config.projection_dim)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Vectors of texts, each cut to as many tokens as CLIP has positions for, (texts, size)."""
        length = self._model.config.text_config.max_position_embeddings
        tokens = self._processor.tokenizer(
            list(texts), padding=True, truncation=True, max_length=length, return_tensors="pt"
        ).to(self.device)
        pooled = self._model.text_model(
            tokens.input_ids, attention_mask=tokens.attention_mask
        ).pooler_output
        return functional.normalize(self._model.text_projection(pooled), dim=-1)

    @torch.no_grad()
    def pictures(self, pixels: Tensor) -> Tensor:
        """Vectors of pictures (pictures, 3, height, width) uint8 RGB, (pictures, size)."""
        prepared = self._processor.image_processor(
            list(pixels.to(self.device)), return_tensors="pt"
        )["pixel_values"]
        pooled = self._model.vision_model(prepared).pooler_output
        return functional.normalize(self._model.visual_projection(pooled), dim=-1)


@cache
def clip_identity(source: str | Path) -> dict[str, str]:
    """What the vectors of a CLIP model depend on: its hub name, or the digest of the files of its folder."""
    folder = Path(source)
    if not folder.is_dir():
        return {"clip": str(source)}
    return {"clip": digest_path(folder)}


def _load(source: str) -> tuple[CLIPModel, Any]:
    """The model in float32, and what prepares texts and pictures for it."""
    loader: Any = CLIPModel
    try:
        model, report = loader.from_pretrained(
            source, dtype=torch.float32, output_loading_info=True
        )
        processor = CLIPProcessor.from_pretrained(source)
    except Exception as error:  # transformers raises almost anything on damaged files
        raise WeightsUnavailable(unavailable_line("CLIP", source, reason=str(error))) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise WeightsUnavailable(
            f"CLIP '{source}': its weights lack {len(missing)} tensors, among them {missing[0]}: name a CLIP model"
        )
    return model, processor
