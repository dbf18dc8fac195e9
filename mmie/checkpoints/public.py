"""Weights of the public HVPNet and RSRNeT under this package's names.

Both public codes save a bare ``state_dict``:

============================================  ====================================================
public name                                   this package
============================================  ====================================================
``bert.*``                                    ``text.model.*``
``encoder_conv.*``, ``gates.*``               ``visual_prefix.*``
``image_model.resnet.*``                      ``vision.model.*``, with batch norms that moved while
                                              the rest was trained
``fc.*`` (NER)                                ``head.emission.*``, the rows of this package's tags
``crf.*`` (NER)                               ``head.crf.*``, the rows of this package's tags
``classifier.*`` (RE)                         ``head.classifier.*``, the rows of this package's
                                              labels
============================================  ====================================================

The public CRF runs over subwords, from ``[CLS]`` to ``[SEP]``. A CRF over words starts where the
public one leaves ``[CLS]`` and ends where it enters ``[SEP]``: its scores of starts and ends are
those transitions. Emissions of first subwords are the same, decoded tags can differ.

Sources: https://github.com/zjunlp/HVPNeT (commit 410bd0c) and
https://github.com/binbinbin666/RSRNeT (commit 2e1a27b).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from mmie.checkpoints.checkpoint import CheckpointError
from mmie.types import Task

PublicModel = Literal["hvpnet", "rsrnet"]

PUBLIC_TAGS = (
    "PAD",
    "O",
    "B-MISC",
    "I-MISC",
    "B-PER",
    "I-PER",
    "B-ORG",
    "I-ORG",
    "B-LOC",
    "I-LOC",
    "X",
    "[CLS]",
    "[SEP]",
)
"""Tags of the public codes in the order of their ids."""
PUBLIC_RELATIONS = (
    "None",
    "/per/per/parent",
    "/per/per/siblings",
    "/per/per/couple",
    "/per/per/neighbor",
    "/per/per/peer",
    "/per/per/charges",
    "/per/per/alumi",
    "/per/per/alternate_names",
    "/per/org/member_of",
    "/per/loc/place_of_residence",
    "/per/loc/place_of_birth",
    "/org/org/alternate_names",
    "/org/org/subsidiary",
    "/org/loc/locate_at",
    "/loc/loc/contain",
    "/per/misc/present_in",
    "/per/misc/awarded",
    "/per/misc/race",
    "/per/misc/religion",
    "/per/misc/nationality",
    "/misc/misc/part_of",
    "/misc/loc/held_on",
)
"""Relations in the order of their ids in ``ours_rel2id.json``, which the public codes read."""
_PREFIXES = {
    "bert.": "text.model.",
    "encoder_conv.": "visual_prefix.encoder_conv.",
    "gates.": "visual_prefix.gates.",
    "image_model.resnet.": "vision.model.",
}
_UNREAD = {
    "bert.pooler.": "the pooler is not used",
    "bert.embeddings.position_ids": "it numbers the positions and is no weight",
    "image_model.resnet.fc.": "the backbone's own classifier is not used",
}
_TAG_CONDITION = (
    "the corpus must have the types PER, LOC, ORG and MISC, and data.tag_scheme must be bio"
)
EMBEDDINGS = "text.model.embeddings.word_embeddings.weight"
"""This package's name of the word embeddings."""
_PUBLIC_EMBEDDINGS = "bert.embeddings.word_embeddings.weight"
_HEADS = ("fc.", "crf.", "classifier.")
_MARKER_ROWS: dict[PublicModel, tuple[int, ...]] = {
    "hvpnet": (-4, -3, -2, -1),
    "rsrnet": (0, 2, -2, -1),
}
"""Rows of the public word embeddings for the markers: head's start and end, tail's start and end.

The public RSRNeT marks the head with RoBERTa's own beginning and end of a text.
"""
_ADDED_ROWS: dict[PublicModel, int] = {"hvpnet": 4, "rsrnet": 2}
"""Rows that the public codes for relations append to the word embeddings."""


@dataclass(slots=True)
class PublicWeights:
    """Public weights under this package's names.

    Attributes:
        state_dict: The tensors by name.
        names: This package's name for each public name that was taken over.
        dropped: For each public name that was left out, the reason.
        notes: What was taken over in part, a line each.
    """

    state_dict: dict[str, Tensor] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, public_name: str, own_name: str, tensor: Tensor) -> None:
        """Add a tensor under this package's name."""
        self.names[public_name] = own_name
        self.state_dict[own_name] = tensor


def map_public_weights(
    public: Mapping[str, Tensor],
    model: PublicModel,
    task: Task,
    labels: Sequence[str],
    embeddings: Tensor,
    marker_ids: Sequence[int],
) -> PublicWeights:
    """Map a public ``state_dict`` to this package's names.

    Args:
        public: The public tensors by name.
        model: Which public code wrote them.
        task: Task that they were trained for.
        labels: This package's tags (NER) or relation labels (RE), in the order of their ids.
        embeddings: This package's word embeddings (tokens, hidden), for the rows that the public
            ones lack.
        marker_ids: Ids of this package's markers: head's start and end, tail's start and end.

    Raises:
        CheckpointError: A tensor is missing or unknown to the public code, or a label is.
    """
    mapped = PublicWeights()
    for name, tensor in public.items():
        reason = _unread_reason(name)
        if reason is not None:
            mapped.dropped[name] = reason
        elif not name.startswith(_HEADS) and name != _PUBLIC_EMBEDDINGS:
            mapped.add(name, _own_name(name), tensor)
    has_markers = "classifier.weight" in public
    try:
        _map_embeddings(
            mapped, public[_PUBLIC_EMBEDDINGS], model, has_markers, embeddings, marker_ids
        )
        _MAP_HEAD[task](mapped, public, labels)
    except KeyError as error:
        raise CheckpointError(f"the weights lack {error.args[0]}, which the task needs") from error
    return mapped


def _unread_reason(name: str) -> str | None:
    """Return why a public tensor is left out, or None if it is read."""
    for prefix, reason in _UNREAD.items():
        if name.startswith(prefix):
            return reason
    return None


def _own_name(name: str) -> str:
    """Translate the name of a public tensor.

    Raises:
        CheckpointError: The public codes write no such name.
    """
    for prefix, own_prefix in _PREFIXES.items():
        if name.startswith(prefix):
            return own_prefix + name.removeprefix(prefix)
    raise CheckpointError(f"the weights hold {name}, which neither public code writes")


def _map_tags(mapped: PublicWeights, public: Mapping[str, Tensor], tags: Sequence[str]) -> None:
    """Add the emission layer and the CRF, for this package's tags.

    Raises:
        CheckpointError: The public codes have no such tag.
        KeyError: A tensor is missing.
    """
    ids = _public_rows(mapped, "tag", PUBLIC_TAGS, tags, _TAG_CONDITION)  # (tags,)
    mapped.add("fc.weight", "head.emission.weight", public["fc.weight"][ids])
    mapped.add("fc.bias", "head.emission.bias", public["fc.bias"][ids])
    first, last = PUBLIC_TAGS.index("[CLS]"), PUBLIC_TAGS.index("[SEP]")
    transitions = public["crf.transitions"]  # (from, to)
    mapped.add("crf.transitions", "head.crf.transitions", transitions[ids][:, ids])
    mapped.state_dict["head.crf.start_transitions"] = transitions[first, ids]
    mapped.state_dict["head.crf.end_transitions"] = transitions[ids, last]
    mapped.notes.append("head.crf.start_transitions: public transitions from [CLS]")
    mapped.notes.append("head.crf.end_transitions: public transitions to [SEP]")
    for name in ("crf.start_transitions", "crf.end_transitions"):
        mapped.dropped[name] = "only [CLS] starts and [SEP] ends a public sequence"


def _map_relations(
    mapped: PublicWeights, public: Mapping[str, Tensor], labels: Sequence[str]
) -> None:
    """Add the relation classifier, for this package's labels.

    Raises:
        CheckpointError: The public codes have no such relation.
        KeyError: A tensor is missing.
    """
    condition = "the corpus must be version 2 of MNRE"
    ids = _public_rows(mapped, "relation", PUBLIC_RELATIONS, labels, condition)  # (labels,)
    for part in ("weight", "bias"):
        mapped.add(
            f"classifier.{part}", f"head.classifier.{part}", public[f"classifier.{part}"][ids]
        )


_MAP_HEAD: dict[Task, Callable[[PublicWeights, Mapping[str, Tensor], Sequence[str]], None]] = {
    "ner": _map_tags,
    "re": _map_relations,
}
"""Functions that add the head of each task."""


def _public_rows(
    mapped: PublicWeights, kind: str, public: Sequence[str], own: Sequence[str], condition: str
) -> Tensor:
    """Return the public ids of this package's tags or relations, (own,), and note each of them.

    Raises:
        CheckpointError: The public codes have no such tag or relation.
    """
    rows = []
    for name in own:
        if name not in public:
            raise CheckpointError(f"the public weights have no {kind} {name}: {condition}")
        rows.append(public.index(name))
        mapped.notes.append(f"{kind} {name}: public row {rows[-1]}")
    for name in public:
        if name not in own:
            mapped.notes.append(f"{kind} {name}: left out, it is none of the corpus's")
    return torch.tensor(rows)


def _map_embeddings(
    mapped: PublicWeights,
    public: Tensor,
    model: PublicModel,
    has_markers: bool,
    embeddings: Tensor,
    marker_ids: Sequence[int],
) -> None:
    """Add the word embeddings in this package's order of tokens.

    Args:
        mapped: The weights so far.
        public: Public word embeddings, (public tokens, hidden).
        model: Which public code wrote them.
        has_markers: Whether they hold entity markers, as for relations.
        embeddings: This package's word embeddings, (tokens, hidden).
        marker_ids: Ids of this package's markers.
    """
    own = embeddings.detach().to(public.dtype, copy=True)
    num_words = len(public) - (_ADDED_ROWS[model] if has_markers else 0)
    shared = min(num_words, len(own))
    own[:shared] = public[:shared]
    mapped.notes.append(f"word embeddings: {shared} of {len(own)} rows are public ones")
    if has_markers:
        rows = [row % len(public) for row in _MARKER_ROWS[model]]
        own[list(marker_ids)] = public[rows]
        for marker, row in zip(("<s>", "</s>", "<o>", "</o>"), rows, strict=True):
            mapped.notes.append(f"entity marker {marker}: public row {row}")
    mapped.add(_PUBLIC_EMBEDDINGS, EMBEDDINGS, own)
