"""Search by the similarity of sentence vectors."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mmie.blocks.text_model_loading import load_text_model
from mmie.context.search import TextSearch
from mmie.data.tokenizer_files import load_tokenizer
from mmie.utils.files import digest_path

_BATCH_SIZE = 32
_MAX_TOKENS = 128
"""Most subwords of a text that its vector depends on."""


class VectorSearch(TextSearch):
    """Cosine similarity of the means of a text encoder's last states.

    Args:
        texts: Texts to index.
        encoder: Local folder or hub name of a text encoder.
        device: Device to compute on.

    Raises:
        WeightsUnavailable: The encoder cannot be loaded.
        TokenizerError: The encoder's tokenizer cannot be loaded.
    """

    def __init__(
        self, texts: Sequence[str], encoder: str, device: torch.device | str = "cpu"
    ) -> None:
        self.encoder = encoder
        self.device = torch.device(device)
        self._tokenizer = load_tokenizer(encoder)
        self._model = load_text_model(encoder, pretrained=True).eval().to(self.device)
        self._vectors = self._encode(texts)  # (texts, hidden)

    @property
    def identity(self) -> Mapping[str, Any]:
        """Weights of the encoder, and the number of subwords that it reads."""
        folder = Path(self.encoder)
        if folder.is_dir():
            weights = digest_path(folder)
        else:
            weights = f"{self.encoder}@{getattr(self._model.config, '_commit_hash', None)}"
        return {"search": "vectors", "encoder": weights, "max_tokens": _MAX_TOKENS}

    def scores(self, queries: Sequence[str]) -> Iterator[NDArray[np.float32]]:
        """Yield the cosine of every indexed text to each query."""
        for start in range(0, len(queries), _BATCH_SIZE):
            vectors = self._encode(queries[start : start + _BATCH_SIZE])  # (batch, hidden)
            yield from (vectors @ self._vectors.T).numpy()  # (batch, texts)

    def _encode(self, texts: Sequence[str]) -> Tensor:
        """Compute vectors of length 1, (texts, hidden)."""
        vectors = [torch.zeros(0, int(self._model.config.hidden_size))]
        for start in range(0, len(texts), _BATCH_SIZE):
            batch = list(texts[start : start + _BATCH_SIZE])
            vectors.append(mean_states(self._model, self._tokenizer, batch, self.device))
        return torch.cat(vectors)


@torch.no_grad()
def mean_states(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
    device: torch.device,
) -> Tensor:
    """Average the last states of each text's subwords, special tokens included, to length 1.

    Returns:
        (texts, hidden) float32 on the CPU.
    """
    inputs = tokenizer(
        texts, padding=True, truncation=True, max_length=_MAX_TOKENS, return_tensors="pt"
    ).to(device)
    states = model(**inputs).last_hidden_state  # (texts, tokens, hidden)
    mask = inputs["attention_mask"].unsqueeze(-1)  # (texts, tokens, 1)
    means = (states * mask).sum(1) / mask.sum(1)  # (texts, hidden)
    return torch.nn.functional.normalize(means, dim=-1).cpu()
