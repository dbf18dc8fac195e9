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
``classifier.*`` (RE)                         ``head.classifier.*``
============================================  ====================================================

The public CRF runs over subwords, from ``[CLS]`` to ``[SEP]``. A CRF over words starts where the
public one leaves ``[CLS]`` and ends where it enters ``[SEP]``: its scores of starts and ends are
those transitions. Emissions of first subwords are the same, decoded tags can differ.

Sources: https://github.com/zjunlp/HVPNeT (commit 410bd0c) and
https://github.com/binbinbin666/RSRNeT (commit 2e1a27b).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from mmie.checkpoints.checkpoint import CheckpointError

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
_PREFIXES = {
    "bert.": "text.model.",
    "encoder_conv.": "visual_prefix.encoder_conv.",
    "gates.": "visual_prefix.gates.",
    "image_model.resnet.": "vision.model.",
    "classifier.": "head.classifier.",
}
_UNREAD = {
    "bert.pooler.": "the pooler is not used",
    "bert.embeddings.position_ids": "it numbers the positions and is no weight",
    "image_model.resnet.fc.": "the backbone's own classifier is not used",
}
_EMBEDDINGS = "bert.embeddings.word_embeddings.weight"
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
        dropped: For each public name that was left out, the reason.
        notes: What was taken over in part, a line each.
    """

    state_dict: dict[str, Tensor] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def map_public_weights(
    public: Mapping[str, Tensor],
    model: PublicModel,
    tags: Sequence[str] | None,
    embeddings: Tensor,
    marker_ids: Sequence[int],
) -> PublicWeights:
    """Map a public ``state_dict`` to this package's names.

    Args:
        public: The public tensors by name.
        model: Which public code wrote them.
        tags: This package's tags in the order of their ids; None for relations.
        embeddings: This package's word embeddings (tokens, hidden), for the rows that the public
            ones lack.
        marker_ids: Ids of this package's markers: head's start and end, tail's start and end.

    Raises:
        CheckpointError: A tensor is missing or unknown to the public code, or a tag is.
    """
    mapped = PublicWeights()
    for name, tensor in public.items():
        reason = _unread_reason(name)
        if reason is not None:
            mapped.dropped[name] = reason
        elif not name.startswith(("fc.", "crf.")) and name != _EMBEDDINGS:
            mapped.state_dict[_own_name(name)] = tensor
    try:
        if tags is not None:
            _map_tags(mapped, public, tags)
        _map_embeddings(mapped, public[_EMBEDDINGS], model, tags is None, embeddings, marker_ids)
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
    unknown = [tag for tag in tags if tag not in PUBLIC_TAGS]
    if unknown:
        raise CheckpointError(
            f"the public weights have no tag {', '.join(unknown)}: the corpus must have the types "
            "PER, LOC, ORG and MISC, and data.tag_scheme must be bio"
        )
    ids = torch.tensor([PUBLIC_TAGS.index(tag) for tag in tags])  # (tags,)
    first, last = PUBLIC_TAGS.index("[CLS]"), PUBLIC_TAGS.index("[SEP]")
    transitions = public["crf.transitions"]  # (from, to)
    mapped.state_dict |= {
        "head.emission.weight": public["fc.weight"][ids],
        "head.emission.bias": public["fc.bias"][ids],
        "head.crf.start_transitions": transitions[first, ids],
        "head.crf.end_transitions": transitions[ids, last],
        "head.crf.transitions": transitions[ids][:, ids],
    }
    for name in ("crf.start_transitions", "crf.end_transitions"):
        mapped.dropped[name] = "it is read at [CLS] or [SEP] alone, which are no words"
    for index, tag in enumerate(tags):
        mapped.notes.append(f"tag {index} {tag}: public row {PUBLIC_TAGS.index(tag)}")
    left_out = (tag for tag in PUBLIC_TAGS if tag not in tags)
    mapped.notes.append(f"tags without a row here: {', '.join(left_out)}")


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
        mapped.notes.append(f"entity markers: public rows {', '.join(map(str, rows))}")
    mapped.state_dict["text.model.embeddings.word_embeddings.weight"] = own
