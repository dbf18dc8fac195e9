"""Heads: from states of tokens to a loss and to answers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmie.blocks.crf import ConstrainedCRF
from mmie.types import UNKNOWN_LABEL, Batch, TagScheme

Pooling = Literal["cls", "entities"]


class Head(nn.Module, ABC):
    """Reads a method's states; the only part of a model that differs between the tasks.

    Attributes:
        temperature: What scores are divided by before they become the probabilities of answers; neither the loss nor
            the best answer depends on it.
    """

    temperature: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.ones(()))

    @abstractmethod
    def pool(self, states: Tensor, batch: Batch) -> Tensor:
        """What is classified: states of words (batch, words, hidden), or one vector (batch, width)."""

    @abstractmethod
    def loss(self, states: Tensor, batch: Batch) -> Tensor:
        """Loss of every post, (batch,) float32.

        Args:
            states: (batch, tokens, hidden)
            batch: Posts with gold tags or labels.
        """

    @abstractmethod
    def losses_at(self, temperatures: Sequence[float], states: Tensor, batch: Batch) -> Tensor:
        """`loss` with scores divided by each temperature, (temperatures, batch)."""

    @abstractmethod
    def decode(self, states: Tensor, batch: Batch) -> Tensor:
        """Best tag ids (batch, words), or best label ids (batch,)."""

    @abstractmethod
    def confidence(self, states: Tensor, batch: Batch, decoded: Tensor) -> tuple[Tensor, ...]:
        """What the probabilities of decoded answers are made of.

        Returns:
            `ConstrainedCRF.span_probabilities`, (batch, words) each; or the probability of the label, (batch,).
        """


class TagHead(Head):
    """Dropout, a linear map to tags, and a linear-chain CRF over words.

    The state of a word is the state of its first subword; a word without any reads ``[CLS]``.

    Args:
        hidden_size: Width of the states.
        tags: Names of all tags, ``O`` first.
        scheme: Tag scheme, which says what transitions are possible.
        dropout: Share of state values dropped in training.
    """

    def __init__(
        self, hidden_size: int, tags: Sequence[str], scheme: TagScheme, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.emission = nn.Linear(hidden_size, len(tags))
        self.crf = ConstrainedCRF(tags, scheme)

    def pool(self, states: Tensor, batch: Batch) -> Tensor:
        """States of the words, (batch, words, hidden)."""
        positions = batch.word_starts.unsqueeze(-1).expand(
            -1, -1, states.shape[-1]
        )  # (batch, words, hidden)
        return states.gather(1, positions)

    def emissions(self, states: Tensor, batch: Batch) -> Tensor:
        """Scores of every tag for every word, (batch, words, tags)."""
        scores: Tensor = self.emission(self.dropout(self.pool(states, batch)))
        return scores

    def loss(self, states: Tensor, batch: Batch) -> Tensor:
        """Negative log-likelihood of the gold tags."""
        if batch.tags is None:
            raise ValueError(
                "the batch has no gold tags: was the data module set up for the task ner?"
            )
        return self.crf.loss(self.emissions(states, batch), batch.tags, batch.word_mask)

    def losses_at(self, temperatures: Sequence[float], states: Tensor, batch: Batch) -> Tensor:
        """Negative log-likelihoods of the gold tags."""
        if batch.tags is None:
            raise ValueError(
                "the batch has no gold tags: was the data module set up for the task ner?"
            )
        scores, tags, mask = self.emissions(states, batch), batch.tags, batch.word_mask
        return torch.stack(
            [self.crf.loss(scores, tags, mask, temperature) for temperature in temperatures]
        )

    def decode(self, states: Tensor, batch: Batch) -> Tensor:
        """Best tag ids by Viterbi, (batch, words), ``O`` on padding and on words cut off."""
        return self.crf.decode(self.emissions(states, batch), batch.word_mask)

    def confidence(self, states: Tensor, batch: Batch, decoded: Tensor) -> tuple[Tensor, ...]:
        """Logarithms of which those at an entity's words sum to its marginal log probability."""
        scores = self.emissions(states, batch)
        return self.crf.span_probabilities(scores, batch.word_mask, decoded, self.temperature)


class RelationHead(Head):
    """Dropout and a linear map from a pooled state to relation labels.

    Args:
        hidden_size: Width of the states.
        num_labels: Relation labels, ``None`` included.
        pooling: ``cls`` reads the ``[CLS]`` state, ``entities`` the two opening markers, head before tail.
        dropout: Share of pooled values dropped in training.
    """

    def __init__(
        self, hidden_size: int, num_labels: int, pooling: Pooling = "entities", dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(
            hidden_size if pooling == "cls" else 2 * hidden_size, num_labels
        )

    def pool(self, states: Tensor, batch: Batch) -> Tensor:
        """(batch, hidden) for ``cls``, (batch, 2 * hidden) for ``entities``."""
        if self.pooling == "cls":
            return states[:, 0]
        if batch.markers is None:
            raise ValueError(
                "the batch has no entity markers: was the data module set up for the task re?"
            )
        rows = torch.arange(len(batch), device=states.device)
        head, tail = batch.markers.unbind(1)
        return torch.cat([states[rows, head], states[rows, tail]], dim=-1)

    def logits(self, states: Tensor, batch: Batch) -> Tensor:
        """Scores of every label, (batch, labels)."""
        scores: Tensor = self.classifier(self.dropout(self.pool(states, batch)))
        return scores

    def loss(self, states: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy; 0 for a post whose label the model does not know."""
        if batch.labels is None:
            raise ValueError(
                "the batch has no gold labels: was the data module set up for the task re?"
            )
        logits = self.logits(states, batch).float()
        return functional.cross_entropy(
            logits, batch.labels, ignore_index=UNKNOWN_LABEL, reduction="none"
        )

    def losses_at(self, temperatures: Sequence[float], states: Tensor, batch: Batch) -> Tensor:
        """Cross-entropies."""
        if batch.labels is None:
            raise ValueError(
                "the batch has no gold labels: was the data module set up for the task re?"
            )
        logits, labels, unknown = self.logits(states, batch).float(), batch.labels, UNKNOWN_LABEL
        return torch.stack(
            [
                functional.cross_entropy(
                    logits / temperature, labels, ignore_index=unknown, reduction="none"
                )
                for temperature in temperatures
            ]
        )

    def decode(self, states: Tensor, batch: Batch) -> Tensor:
        """Best label ids, (batch,)."""
        return self.logits(states, batch).argmax(-1)

    def confidence(self, states: Tensor, batch: Batch, decoded: Tensor) -> tuple[Tensor, ...]:
        """Probability of the label."""
        probabilities = (self.logits(states, batch).float() / self.temperature).softmax(-1)
        return (probabilities.gather(1, decoded.unsqueeze(1)).squeeze(1),)
