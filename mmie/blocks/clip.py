"""Vectors of texts and pictures from a frozen CLIP outside all trained modules and checkpoints.

Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision,
ICML 2021.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel, CLIPProcessor

from mmie.blocks.errors import WeightsUnavailable, unavailable_message
from mmie.utils.files import digest_path
from mmie.utils.model_names import is_missing_folder, missing_folder_message


class ClipVectors:
    """Frozen CLIP whose vectors of texts and pictures have length 1.

    The dot product of a text's and a picture's vector measures how well the two match. The class is
    no ``nn.Module``, so that a module that holds an instance neither trains nor saves it.

    Args:
        source: Hub name of a CLIP model, or local folder of one with its tokenizer and its image
            processor.
        device: Where to compute.

    Raises:
        WeightsUnavailable: The source is no local folder and cannot be fetched from the hub, or
            holds no CLIP.
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
        """Encode texts as vectors (texts, size), each cut to the number of CLIP's positions."""
        length = self._model.config.text_config.max_position_embeddings
        tokens = self._processor.tokenizer(
            list(texts), padding=True, truncation=True, max_length=length, return_tensors="pt"
        ).to(self.device)
        output = self._model.text_model(tokens.input_ids, attention_mask=tokens.attention_mask)
        vectors = self._model.text_projection(output.pooler_output)  # (texts, size)
        return functional.normalize(vectors, dim=-1)

    @torch.no_grad()
    def pictures(self, pixels: Tensor) -> Tensor:
        """Encode pictures (pictures, 3, height, width) uint8 RGB as vectors (pictures, size)."""
        images = list(pixels.to(self.device))  # (3, height, width) each
        prepared = self._processor.image_processor(images, return_tensors="pt")
        output = self._model.vision_model(prepared["pixel_values"])
        vectors = self._model.visual_projection(output.pooler_output)  # (pictures, size)
        return functional.normalize(vectors, dim=-1)


@cache
def clip_identity(source: str | Path) -> dict[str, str]:
    """Identify what a CLIP's vectors depend on: its hub name, or its folder's digest."""
    folder = Path(source)
    if not folder.is_dir():
        return {"clip": str(source)}
    return {"clip": digest_path(folder)}


def _load(source: str) -> tuple[CLIPModel, Any]:
    """Load the model in float32 and the processor that prepares texts and pictures for it."""
    if is_missing_folder(source):
        raise WeightsUnavailable(missing_folder_message("CLIP", source))
    loader: Any = CLIPModel
    try:
        model, report = loader.from_pretrained(
            source, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
        )
        processor = CLIPProcessor.from_pretrained(source, trust_remote_code=False)
    except Exception as error:  # transformers raises almost anything on damaged files
        raise WeightsUnavailable(unavailable_message("CLIP", source, reason=str(error))) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise WeightsUnavailable(
            f"CLIP '{source}': its weights lack {len(missing)} tensors, among them {missing[0]}: "
            "name a CLIP model"
        )
    return model, processor
