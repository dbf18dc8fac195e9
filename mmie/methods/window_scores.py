"""Scores of long posts whose windows are separate rows of batches.

Each row is counted by itself, and its gold entities are those that belong to its window. Two
neighbouring windows may predict entities that share a word, of which extraction keeps the more
probable one (`mmie.data.long_posts`). The other one is taken back before scores are computed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch.distributed as dist

from mmie.metrics import SpanF1
from mmie.tags import choose_disjoint
from mmie.types import Batch, Entity, Prediction
from mmie.utils.distributed import rank_and_world_size


class WindowEntity(NamedTuple):
    """Entity that was predicted in a window.

    Attributes:
        post: Index of the post's first window in its split.
        entity: The entity by words of the post.
        probability: Its probability.
        is_correct: Whether it is a gold entity.
    """

    post: int
    entity: Entity
    probability: float
    is_correct: bool


class WindowEntities:
    """Entities that this process has predicted in windows since the last scores."""

    def __init__(self) -> None:
        self._found: list[WindowEntity] = []

    def collect(self, batch: Batch, predictions: Sequence[Prediction]) -> None:
        """Add the entities of a batch of windows, without copies that are not counted.

        Args:
            batch: The batch. One of whole posts is not needed.
            predictions: Its predictions, with probabilities.
        """
        if batch.origins is None:
            return
        origins, indices = batch.origins.tolist(), batch.index.tolist()
        for row, is_counted in enumerate(batch.counted.tolist()):
            if not is_counted:
                continue
            number, first = origins[row]
            prediction = predictions[row]
            for entity, probability in zip(
                prediction.entities, prediction.probabilities, strict=True
            ):
                moved = Entity(entity.start + first, entity.end + first, entity.type)
                is_correct = entity in batch.entities[row]
                post = indices[row] - number
                self._found.append(WindowEntity(post, moved, probability, is_correct))

    def retract_overlaps(self, metric: SpanF1) -> None:
        """Take back what this process has counted and extraction leaves out.

        All processes call it together.

        Args:
            metric: Counts of this process.
        """
        own, self._found = self._found, []
        by_post: dict[int, list[tuple[float, Entity]]] = {}
        for item in _gather(own):
            by_post.setdefault(item.post, []).append((item.probability, item.entity))
        kept: set[tuple[int, Entity]] = set()
        for post, found in by_post.items():
            kept.update((post, entity) for _, entity in choose_disjoint(found))
        for item in own:
            if (item.post, item.entity) not in kept:
                metric.retract(item.entity, item.is_correct)


def _gather(found: list[WindowEntity]) -> list[WindowEntity]:
    """Return the entities of all processes."""
    _, world_size = rank_and_world_size()
    if world_size == 1:
        return found
    shares: list[list[WindowEntity]] = [[] for _ in range(world_size)]
    dist.all_gather_object(shares, found)
    gathered = []
    for share in shares:
        gathered += share
    return gathered
