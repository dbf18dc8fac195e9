"""Types of entities between which each relation is allowed.

They come from the names of labels (MNRE's ``/loc/loc/contain``), from the training data, whose
types a checkpoint holds, or from a JSON file::

    {"capital of": [["LOC", "LOC"]], "works for": [["PER", "ORG"], ["PER", "MISC"]]}
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from mmie.checkpoints import Checkpoint
from mmie.data.parsing import MalformedLine, expand_user, unique_keys
from mmie.inference.pairs import types_in_label
from mmie.types import NO_RELATION, MmieError, Relation
from mmie.utils.text import safe_repr

ANY, LABELS, TRAINING = "any", "labels", "training"
"""Settings that are no file: no limit, the types that labels name, those of the training data."""


class RelationTypesError(MmieError, ValueError):
    """Types of relations that are not known, or are malformed."""


@dataclass(frozen=True, slots=True)
class RelationTypes:
    """Types of head and tail that each relation label allows.

    A label that is not named is allowed between any entities, and an entity without a type fits any
    label. Upper and lower case are the same.

    Attributes:
        allowed: Types of head and tail, in lower case, by label.
    """

    allowed: Mapping[str, frozenset[tuple[str, str]]]

    @classmethod
    def of(cls, types: Mapping[str, Iterable[Sequence[str]]]) -> Self:
        """Build from types of head and tail by label."""
        allowed = {}
        for label, pairs in types.items():
            allowed[label] = frozenset((head.lower(), tail.lower()) for head, tail in pairs)
        return cls(allowed)

    @classmethod
    def read(cls, file: str | Path) -> Self:
        """Read a JSON file as the module describes it.

        Raises:
            RelationTypesError: The file cannot be read, or is malformed.
        """
        path = expand_user(file)
        expected = f"{path}: expected a JSON object of labels and pairs of types, found"
        try:
            types = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=unique_keys)
        except OSError as error:
            raise RelationTypesError(
                f"{expected} no file that can be read ({error.strerror}); without a file, "
                f"relation_types is {ANY}, {LABELS} or {TRAINING}"
            ) from None
        except MalformedLine as error:
            raise RelationTypesError(f"{path}: {error}") from None
        except (ValueError, RecursionError) as error:
            raise RelationTypesError(f"{expected} what is no JSON ({error})") from None
        if not isinstance(types, dict):
            raise RelationTypesError(f"{expected} {safe_repr(types)}")
        for label, pairs in types.items():
            if not _are_pairs(pairs):
                raise RelationTypesError(f"{expected} {safe_repr(pairs)} for {safe_repr(label)}")
        return cls.of(types)

    def allows(self, label: str, head: str, tail: str) -> bool:
        """Tell whether a label is allowed between a head and a tail of some types."""
        if label == NO_RELATION or label not in self.allowed or not head or not tail:
            return True
        return (head.lower(), tail.lower()) in self.allowed[label]

    def pairs(self, labels: Sequence[str]) -> set[tuple[str, str]] | None:
        """Return the types of head and tail that some label allows, or None if one allows all."""
        pairs: set[tuple[str, str]] = set()
        for label in labels:
            if label == NO_RELATION:
                continue
            if label not in self.allowed:
                return None
            pairs |= self.allowed[label]
        return pairs

    def mask(self, relations: Sequence[Relation], labels: Sequence[str]) -> Tensor:
        """Return the labels that are allowed for each pair of entities, (batch, labels) bool."""
        rows = []
        for relation in relations:
            head, tail = relation.head.type, relation.tail.type
            rows.append([self.allows(label, head, tail) for label in labels])
        return torch.tensor(rows)


def find_relation_types(setting: str | Path, checkpoint: Checkpoint) -> RelationTypes | None:
    """Return the types that a setting chooses.

    Args:
        setting: ``any`` limits nothing, ``labels`` takes the types that labels name, ``training``
            those of the training data; anything else is the path of a JSON file.
        checkpoint: Checkpoint of the method of relations.

    Raises:
        RelationTypesError: No label names types, the checkpoint holds none, or the file cannot be
            used or names a label that the method lacks.
    """
    labels = checkpoint.schema.labels
    if setting == ANY:
        return None
    if setting == LABELS:
        return _types_in_labels(checkpoint)
    if setting == TRAINING:
        if not checkpoint.relation_types:
            raise RelationTypesError(
                f"relation_types is {TRAINING}, but '{checkpoint.source}' holds no types of its "
                f"training data, whose relations have none or which an older version read: name a "
                f"file, or {LABELS}"
            )
        return RelationTypes.of(checkpoint.relation_types)
    types = RelationTypes.read(setting)
    unknown = sorted(set(types.allowed).difference(labels))
    if unknown:
        raise RelationTypesError(
            f"{setting}: the label {safe_repr(unknown[0])} is none of '{checkpoint.source}': "
            f"expected some of {', '.join(labels)}"
        )
    return types


def _types_in_labels(checkpoint: Checkpoint) -> RelationTypes:
    """Return the types that the labels of a method name.

    Raises:
        RelationTypesError: No label names types.
    """
    named: dict[str, list[tuple[str, str]]] = {}
    for label in checkpoint.schema.labels:
        in_label = types_in_label(label)
        if in_label is not None:
            named[label] = [in_label]
    if not named:
        raise RelationTypesError(
            f"relation_types is {LABELS}, but no label of '{checkpoint.source}' names types as "
            f"/loc/loc/contain does: name a file, or {TRAINING}"
        )
    return RelationTypes.of(named)


def _are_pairs(value: Any) -> bool:
    """Tell whether a value of a JSON file is a list of lists of two types."""
    if not isinstance(value, list):
        return False
    for pair in value:
        if not isinstance(pair, list) or list(map(type, pair)) != [str, str]:
            return False
    return True
