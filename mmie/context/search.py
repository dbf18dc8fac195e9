"""Search for similar texts."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmie.context.training_texts import text_words
from mmie.utils.optional import require


class TextSearch(ABC):
    """Similarity of texts to those that were indexed."""

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """JSON values that decide on the scores."""

    @abstractmethod
    def scores(self, queries: Sequence[str]) -> Iterator[NDArray[np.float32]]:
        """Yield the scores of all indexed texts for each query.

        Args:
            queries: The queries.

        Yields:
            (texts,) scores, higher for more similar texts, and -inf for texts that have nothing in
            common with the query.
        """


class BM25Search(TextSearch):
    """BM25 over the words of texts, in the variant of Lucene.

    Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond",
    Foundations and Trends in Information Retrieval 2009.

    Args:
        texts: Texts to index.
        k1: Saturation of a word's frequency.
        b: Weight of a text's length.

    Raises:
        MissingPackageError: bm25s is not installed.
    """

    def __init__(self, texts: Sequence[str], k1: float = 1.5, b: float = 0.75) -> None:
        self.k1, self.b = k1, b
        self._num_texts = len(texts)
        words = [text_words(text) for text in texts]
        self._vocabulary = set().union(*words)
        self._index = require("bm25s", "context").BM25(k1=k1, b=b)
        if self._vocabulary:
            self._index.index(words, show_progress=False)

    @property
    def identity(self) -> Mapping[str, Any]:
        """Constants of the formula, and the library."""
        library = f"bm25s {version('bm25s')}"
        return {"search": "bm25", "k1": self.k1, "b": self.b, "library": library}

    def scores(self, queries: Sequence[str]) -> Iterator[NDArray[np.float32]]:
        """Yield the scores of all indexed texts for each query."""
        for query in queries:
            known = [word for word in text_words(query) if word in self._vocabulary]
            scores = np.zeros(self._num_texts, np.float32)  # (texts,)
            if known:
                scores = self._index.get_scores(known)
            yield np.where(scores > 0, scores, -np.inf).astype(np.float32)
