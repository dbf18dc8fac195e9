"""Heads that turn states of tokens into a loss and predictions."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmie.blocks.crf import ConstrainedCRF
from mmie.types import UNKNOWN_LABEL, Batch, TagScheme

Pooling = Literal["cls", "entities", "cls_tail"]


class Head(nn.Module, ABC):
    """Classifier of a method's states, the only part of a model that depends on the task.

    Attributes:
        temperature: Divisor of scores before they become probabilities of predictions; neither the
            loss nor the best prediction depends on it.
    """

    temperature: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.ones(()))

    @abstractmethod
    def pool(self, states: Tensor, batch: Batch) -> Tensor:
        """Collect the vectors to classify, (batch, words, hidden), or (batch, width) per post."""

    @abstractmethod
    def loss(self, states: Tensor, batch: Batch) -> Tensor:
        """Compute the loss of every post, (batch,) float32.

        Args:
            states: (batch, tokens, hidden)
            batch: Posts with gold tags or labels.

        Raises:
            ValueError: The batch has no gold tags or labels.
        """

    @abstractmethod
    def losses_at(self, temperatures: Sequence[float], states: Tensor, batch: Batch) -> Tensor:
        """Compute `loss` with scores divided by each temperature, (temperatures, batch)."""

    @abstractmethod
    def divergence(self, first: Tensor, second: Tensor, batch: Batch) -> Tensor:
        """Compute KL(P || Q) + KL(Q || P) between the predictions P and Q for two states.

        Args:
            first: (batch, tokens, hidden)
            second: (batch, tokens, hidden)
            batch: The posts.

        Returns:
            (batch,) float32
        """

    @abstractmethod
    def scores(self, states: Tensor, batch: Batch) -> Tensor:
        """Score every tag for every word, (batch, words, tags), or every label, (batch, labels)."""

    @abstractmethod
    def decode_scores(self, scores: Tensor, batch: Batch) -> Tensor:
        """Predict the best tag ids (batch, words), or the best label ids (batch,), from scores."""

    @abstractmethod
    def score_confidence(self, scores: Tensor, batch: Batch, decoded: Tensor) -> tuple[Tensor, ...]:
        """Compute the tensors that give the probabilities of decoded predictions.

        Returns:
            The terms of `ConstrainedCRF.span_probabilities`, (batch, words) each; or the
            probability of the label, (batch,).
        """

    def decode(self, states: Tensor, batch: Batch) -> Tensor:
        """Predict the best tag ids (batch, words), or the best label ids (batch,)."""
        return self.decode_scores(self.scores(states, batch), batch)

    def confidence(self, states: Tensor, batch: Batch, decoded: Tensor) -> tuple[Tensor, ...]:
        """Compute the tensors of `score_confidence` from states."""
        return self.score_confidence(self.scores(states, batch), batch, decoded)


class TagHead(Head):
    """Dropout, a linear map to tags, and a linear-chain CRF over words.

    The state of a word is the state of its first subword, or ``[CLS]`` if the word has no subword.

    Args:
        hidden_size: Width of the states.
        tags: Names of all tags, ``O`` first.
        scheme: Tag scheme, which decides the possible transitions.
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
        """Collect the states of the words, (batch, words, hidden)."""
        width = states.shape[-1]
        positions = batch.word_starts.unsqueeze(-1).expand(-1, -1, width)  # (batch, words, hidden)
        return states.gather(1, positions)

    def emissions(self, states: Tensor, batch: Batch) -> Tensor:
        """Score every tag for every word, (batch, words, tags)."""
        scores: Tensor = self.emission(self.dropout(self.pool(states, batch)))
        return scores

    def loss(self, states: Tensor, batch: Batch) -> Tensor:
        """Compute the negative log-likelihood of the gold tags."""
        gold = _gold_tags(batch)
        return self.crf.loss(self.emissions(states, batch), gold, batch.word_mask)

    def losses_at(self, temperatures: Sequence[float], states: Tensor, batch: Batch) -> Tensor:
        """Compute the negative log-likelihoods of the gold tags."""
        gold = _gold_tags(batch)
        scores = self.emissions(states, batch)  # (batch, words, tags)
        losses = [self.crf.loss(scores, gold, batch.word_mask, t) for t in temperatures]
        return torch.stack(losses)  # (temperatures, batch)

    def divergence(self, first: Tensor, second: Tensor, batch: Batch) -> Tensor:
        """Compute the symmetric divergence of two distributions of tag sequences.

        Both have the same transitions, whose scores cancel. With emissions e, f and their marginals
        p, q it is

            KL(P || Q) + KL(Q || P) = sum_i sum_y (p_i(y) - q_i(y)) (e_i(y) - f_i(y)).

        The marginals are constants for the gradient, so that each distribution is the teacher of
        the other: the gradient is that of both terms with their first argument constant.
        """
        scores = self.emissions(first, batch).float()  # (batch, words, tags)
        others = self.emissions(second, batch).float()  # (batch, words, tags)
        marginals = self.crf.marginals(scores, batch.word_mask)  # (batch, words, tags)
        difference = marginals - self.crf.marginals(others, batch.word_mask)  # (batch, words, tags)
        return (difference.to(scores) * (scores - others)).sum(dim=(1, 2))

    def scores(self, states: Tensor, batch: Batch) -> Tensor:
        """Compute `emissions`."""
        return self.emissions(states, batch)

    def decode_scores(self, scores: Tensor, batch: Batch) -> Tensor:
        """Predict the best tag ids (batch, words), ``O`` on padding and on words cut off."""
        return self.crf.decode(scores, batch.word_mask)

    def score_confidence(self, scores: Tensor, batch: Batch, decoded: Tensor) -> tuple[Tensor, ...]:
        """Compute the log terms that sum to the marginal log probability of an entity."""
        return self.crf.span_probabilities(scores, batch.word_mask, decoded, self.temperature)


class RelationHead(Head):
    """Dropout and a linear map from a pooled state to relation labels.

    Args:
        hidden_size: Width of the states.
        num_labels: Relation labels, ``None`` included.
        pooling: ``cls`` takes the ``[CLS]`` state, ``entities`` those of the two opening markers,
            head before tail, ``cls_tail`` those of ``[CLS]`` and of the tail's opening marker.
        dropout: Share of pooled values dropped in training.
        label_smoothing: Share of the gold label's probability that the loss of training spreads
            over all labels (Szegedy et al., CVPR 2016, Section 7).
    """

    def __init__(
        self,
        hidden_size: int,
        num_labels: int,
        pooling: Pooling = "entities",
        dropout: float = 0.1,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.label_smoothing = label_smoothing
        self.dropout = nn.Dropout(dropout)
        width = hidden_size if pooling == "cls" else 2 * hidden_size
        self.classifier = nn.Linear(width, num_labels)

    def pool(self, states: Tensor, batch: Batch) -> Tensor:
        """Collect the states to classify: (batch, hidden), or (batch, 2 * hidden) of two tokens.

        Raises:
            ValueError: The batch has no entity markers.
        """
        if self.pooling == "cls":
            return states[:, 0]
        if batch.markers is None:
            raise ValueError(
                "the batch has no entity markers: was the data module set up for the task re?"
            )
        rows = torch.arange(len(batch), device=states.device)  # (batch,)
        head, tail = batch.markers.unbind(1)  # (batch,) each
        first = states[:, 0] if self.pooling == "cls_tail" else states[rows, head]
        return torch.cat([first, states[rows, tail]], dim=-1)  # (batch, 2 * hidden)

    def logits(self, states: Tensor, batch: Batch) -> Tensor:
        """Score every label, (batch, labels)."""
        scores: Tensor = self.classifier(self.dropout(self.pool(states, batch)))
        return scores

    def loss(self, states: Tensor, batch: Batch) -> Tensor:
        """Compute the cross-entropy, 0 for a post whose label is unknown to the model."""
        gold = _gold_labels(batch)
        smoothing = self.label_smoothing if self.training else 0.0
        return _cross_entropy(self.logits(states, batch).float(), gold, smoothing)

    def losses_at(self, temperatures: Sequence[float], states: Tensor, batch: Batch) -> Tensor:
        """Compute the cross-entropies."""
        gold = _gold_labels(batch)
        logits = self.logits(states, batch).float()  # (batch, labels)
        losses = [_cross_entropy(logits / temperature, gold) for temperature in temperatures]
        return torch.stack(losses)  # (temperatures, batch)

    def divergence(self, first: Tensor, second: Tensor, batch: Batch) -> Tensor:
        """Compute the symmetric divergence of two distributions of labels."""
        scores = self.logits(first, batch).float().log_softmax(-1)  # (batch, labels)
        others = self.logits(second, batch).float().log_softmax(-1)  # (batch, labels)
        return ((scores.exp() - others.exp()) * (scores - others)).sum(dim=1)

    def scores(self, states: Tensor, batch: Batch) -> Tensor:
        """Compute `logits`."""
        return self.logits(states, batch)

    def decode_scores(self, scores: Tensor, batch: Batch) -> Tensor:
        """Predict the best label ids, (batch,), of those that the batch allows."""
        if batch.allowed is not None:
            scores = scores.masked_fill(~batch.allowed, -torch.inf)
        return scores.argmax(-1)

    def score_confidence(self, scores: Tensor, batch: Batch, decoded: Tensor) -> tuple[Tensor, ...]:
        """Compute the probability of the decoded label."""
        probabilities = (scores.float() / self.temperature).softmax(-1)  # (batch, labels)
        return (probabilities.gather(1, decoded.unsqueeze(1)).squeeze(1),)


def _gold_tags(batch: Batch) -> Tensor:
    """Return the gold tags, (batch, words), or raise if there are none."""
    if batch.tags is None:
        raise ValueError("the batch has no gold tags: was the data module set up for the task ner?")
    return batch.tags


def _gold_labels(batch: Batch) -> Tensor:
    """Return the gold labels, (batch,), or raise if there are none."""
    if batch.labels is None:
        raise ValueError(
            "the batch has no gold labels: was the data module set up for the task re?"
        )
    return batch.labels


def _cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Compute the cross-entropy of logits (batch, labels), 0 for unknown labels, (batch,)."""
    return functional.cross_entropy(
        logits, labels, ignore_index=UNKNOWN_LABEL, reduction="none", label_smoothing=smoothing
    )
