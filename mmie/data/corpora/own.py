"""Base class of corpora of one's own posts, whose labels are those of the training split."""

import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from mmie.data.corpora.base import (
    Corpus,
    CorpusError,
    count_entity_types,
    count_relation_labels,
)
from mmie.data.sources.items import list_names
from mmie.types import NO_RELATION, Post, Split, Task


class OwnCorpus(Corpus):
    """Posts whose types and labels are given, or taken from the training split.

    Args:
        root: Folder that holds the corpus, or that paths of pictures are relative to.
        strict: Whether a malformed post is an error. Otherwise it is skipped.
        max_missing: Largest share of the named pictures that may be missing or unreadable.
        entity_types: Entity types in the order of their tag ids; None takes those of the training
            split, sorted.
        relation_labels: Relation labels in the order of their ids; None takes those of the training
            split, sorted. ``None`` comes first whether given or not.
        follow_links: Whether links may lead to pictures outside the folder, as in the caches of the
            hub, DVC and git-annex. Only for data of one's own: a link can show any file.
    """

    def __init__(
        self,
        root: str | Path,
        strict: bool = True,
        max_missing: float = 0.05,
        entity_types: list[str] | None = None,
        relation_labels: list[str] | None = None,
        follow_links: bool = False,
    ) -> None:
        self._given_types = entity_types
        self._given_labels = relation_labels
        super().__init__(root, strict, max_missing, follow_links)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Tasks that have types or labels, given or in the training split."""
        tasks: list[Task] = []
        if self.entity_types:
            tasks.append("ner")
        if self.relation_labels:
            tasks.append("re")
        return tuple(tasks)

    @cached_property
    def entity_types(self) -> tuple[str, ...]:
        """Entity types, given or in the training split.

        Raises:
            CorpusError: The training split holds a type that is not among the given ones.
        """
        used = set(count_entity_types(self._training_posts()))
        return self._given_or_used(self._given_types, used, "entity_types")

    @cached_property
    def relation_labels(self) -> tuple[str, ...]:
        """Relation labels, given or in the training split, ``None`` first. Empty without any.

        Raises:
            CorpusError: The training split holds a label that is not among the given ones.
        """
        used = set(count_relation_labels(self._training_posts()))
        if used:
            used.add(NO_RELATION)
        given = None if self._given_labels is None else [NO_RELATION, *self._given_labels]
        labels = self._given_or_used(given, used, "relation_labels")
        if not labels:
            return ()
        return (NO_RELATION, *(label for label in labels if label != NO_RELATION))

    def posts(self, split: Split) -> list[Post]:
        """Return the posts of a split, which is read once.

        Reading warns of ids that occur twice, and of types and labels that the training split does
        not have.

        Raises:
            CorpusError: The split is missing, or a post is malformed and the corpus is ``strict``.
        """
        if split in self._posts:
            return self._posts[split]
        posts = super().posts(split)
        repeated = self.repeated_ids[split]
        if repeated:
            warnings.warn(
                f"{self.place(split)}: {len(repeated)} ids occur more than once, further posts got "
                f"#2 and so on: {list_names(repeated)}",
                stacklevel=3,
            )
        if split != "train" and self.tasks:
            self._warn_of_unknown_labels(split, posts)
        return posts

    def _given_or_used(
        self, given: list[str] | None, used: set[str], argument: str
    ) -> tuple[str, ...]:
        """Return the given names, or the used ones, sorted, if none are given.

        Raises:
            CorpusError: A used name is not among the given ones.
        """
        if given is None:
            return tuple(sorted(used))
        lacking = sorted(used.difference(given))
        if lacking:
            raise CorpusError(
                f"{self.place('train')}: {argument} lacks what the training split holds: "
                f"{', '.join(lacking)}"
            )
        return tuple(dict.fromkeys(given))

    def _warn_of_unknown_labels(self, split: Split, posts: Sequence[Post]) -> None:
        """Warn of types and labels of a split that no model can predict."""
        unknown = set(count_entity_types(posts)).difference(self.entity_types)
        unknown |= set(count_relation_labels(posts)).difference(self.relation_labels)
        if unknown:
            names = ", ".join(sorted(unknown))
            warnings.warn(
                f"{self.place(split)}: not in training, so never predicted: {names}",
                stacklevel=3,
            )
