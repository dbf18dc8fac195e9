"""Generative models of transformers in a local folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
)

from mmie.blocks.errors import WeightsUnavailable, unavailable_message
from mmie.context.errors import ContextError
from mmie.context.generation import GenerationSettings, Generator
from mmie.utils.files import digest_path

_DIGEST_DIGITS = 16
_DEFAULT_TOKENS = 128
"""Most tokens of an answer if the settings leave it open."""


def local_model_name(folder: Path) -> str:
    """Return the name of a model in a folder: the folder's name and a digest of its files.

    Raises:
        OSError: A file cannot be read.
    """
    return f"{folder.resolve().name}@{digest_path(folder)[:_DIGEST_DIGITS]}"


class LocalModel(Generator):
    """Generative model with or without pictures, whose likeliest tokens are the answer.

    A model that has a chat template receives the prompt as a user's message, and another one as
    plain text.

    Args:
        folder: Folder of the model and its processor or tokenizer.
        settings: Length of an answer, and whether pictures are used.
        device: Device to compute on.

    Raises:
        ContextError: Pictures are to be used, and the model reads none.
        WeightsUnavailable: The folder holds no generative model.
    """

    def __init__(
        self, folder: Path, settings: GenerationSettings, device: torch.device | str = "cpu"
    ) -> None:
        self.device = torch.device(device)
        self._max_tokens = settings.max_tokens or _DEFAULT_TOKENS
        self._model, self._processor, reads_pictures = _load(folder)
        if settings.max_side and not reads_pictures:
            raise ContextError(f"{folder}: the model reads no pictures: add --max_side 0")
        self._model.eval().requires_grad_(False).to(self.device)

    @torch.no_grad()
    def answer(self, prompt: str, pictures: Sequence[Image.Image]) -> str:
        """Return the likeliest answer to a prompt."""
        inputs = self._inputs(prompt, pictures).to(self.device)
        output = self._model.generate(
            **inputs, max_new_tokens=self._max_tokens, do_sample=False
        )  # (1, tokens)
        new_tokens = output[0, inputs["input_ids"].shape[1] :]  # (new tokens,)
        return str(self._processor.decode(new_tokens, skip_special_tokens=True))

    def _inputs(self, prompt: str, pictures: Sequence[Image.Image]) -> Any:
        """Encode a prompt with its pictures."""
        if getattr(self._processor, "chat_template", None) is None:
            images = {"images": list(pictures)} if pictures else {}
            return self._processor(text=prompt, return_tensors="pt", **images)
        content: list[dict[str, Any]] = []
        for picture in pictures:
            content.append({"type": "image", "image": picture})
        content.append({"type": "text", "text": prompt})
        message = {"role": "user", "content": content if pictures else prompt}
        return self._processor.apply_chat_template(
            [message],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )


def _load(folder: Path) -> tuple[Any, Any, bool]:
    """Load a model in the type of its weights, its processor, and whether it reads pictures.

    Raises:
        WeightsUnavailable: The folder holds no generative model.
    """
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        reads_pictures = type(config) in AutoModelForImageTextToText._model_mapping
        loader: Any = AutoModelForImageTextToText if reads_pictures else AutoModelForCausalLM
        reader: Any = AutoProcessor if reads_pictures else AutoTokenizer
        model, report = loader.from_pretrained(
            folder, trust_remote_code=False, dtype="auto", output_loading_info=True
        )
        processor = reader.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # transformers raises almost anything on damaged files
        raise WeightsUnavailable(
            unavailable_message("generative model", str(folder), reason=str(error))
        ) from error
    if report["missing_keys"]:
        raise WeightsUnavailable(
            f"generative model '{folder}': its weights lack {len(report['missing_keys'])} tensors"
        )
    return model, processor, reads_pictures
