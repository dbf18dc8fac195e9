"""What the page of a post shows: the text, the views, and the method's numbers as tables and drawings."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmie.data.instances import Instance
from mmie.reports.diagnosis.diagnosis import SIMILARITIES, DiagnosisTarget, InstanceDiagnosis
from mmie.reports.diagnosis.figures import (
    correlation_histogram,
    heat,
    numbered,
    path_diagram,
    picture_uri,
    view_names,
)
from mmie.types import Entity

_CARD_SIDE, _THUMBNAIL_SIDE = 320, 64
_DRAWN = frozenset(
    (
        *(
            "view_support",
            "view_change",
            "representation",
            "unprompted",
            "prefix_mass",
            "prompt_mass",
        ),
        *("gates", "routing", "paths", "correlation", *SIMILARITIES),
    )
)
_NUMBERS = {
    "relevance": "relevance of the picture, β",
    "match": "match of text and picture, which comes in above 0.5",
}


def post_section(target: DiagnosisTarget, diagnosis: InstanceDiagnosis) -> dict[str, Any]:
    """What the page of a post says of one thing that was asked."""
    instance, prediction, values = diagnosis.instance, diagnosis.prediction, diagnosis.values
    paths, correlation = values.get("paths"), values.get("correlation")
    return {
        "relation": instance.relation,
        "found_relation": prediction.relations[0].label if prediction.relations else None,
        "gold": _segments(instance.post.words, _asked(instance)),
        "found": _segments(instance.post.words, prediction.entities),
        "views": _view_cards(diagnosis),
        "numbers": _numbers(values),
        "heats": list(_heats(target, diagnosis)),
        "paths": None if paths is None else path_diagram(paths.numpy(), target.units),
        "correlation": None if correlation is None else correlation_histogram(correlation),
        "matches": _similarity_rows(diagnosis),
    }


def _asked(instance: Instance) -> tuple[Entity, ...]:
    """What the text is marked with: head and tail of the relation asked about, or the gold entities."""
    if instance.relation is None:
        return instance.post.entities
    head, tail = instance.relation.head, instance.relation.tail
    return Entity(head.start, head.end, "head"), Entity(tail.start, tail.end, "tail")


def _segments(words: Sequence[str], entities: Iterable[Entity]) -> list[tuple[str, str]]:
    """The text cut at the entities' ends: (words, type) each, the type "" outside."""
    segments, place = [], 0
    for entity in sorted(entities):
        segments.append((" ".join(words[place : entity.start]), ""))
        segments.append((" ".join(words[entity.start : entity.end]), entity.type))
        place = max(place, entity.end)
    segments.append((" ".join(words[place:]), ""))
    return [(text, kind) for text, kind in segments if text]


def _view_cards(diagnosis: InstanceDiagnosis) -> list[dict[str, Any]]:
    """Every view: its picture, what leaving it out does, and the attention that it gets."""
    support, change = (
        diagnosis.values["view_support"].tolist(),
        diagnosis.values["view_change"].tolist(),
    )
    mass = diagnosis.values.get("prefix_mass")  # (layers, words, views)
    shares = [None] * len(support) if mass is None else mass.mean((0, 1)).tolist()
    return [
        {
            "name": name,
            "uri": picture_uri(path, _CARD_SIDE),
            "support": gain,
            "change": moved,
            "mass": share,
        }
        for name, path, gain, moved, share in zip(
            view_names(len(support)), diagnosis.instance.views, support, change, shares, strict=True
        )
    ]


def _numbers(values: dict[str, Tensor]) -> list[tuple[str, float]]:
    """Single numbers of a post, each with what it is."""
    numbers = [
        (_NUMBERS.get(name, name), value.item())
        for name, value in values.items()
        if value.ndim == 0
    ]
    if "relevance" in values:
        numbers.append(("gate, tanh(β)", torch.tanh(values["relevance"]).item()))
    return numbers


def _heats(target: DiagnosisTarget, diagnosis: InstanceDiagnosis) -> Iterator[dict[str, Any]]:
    """Tables of a post whose cells are shaded by their number."""
    values, words = diagnosis.values, diagnosis.instance.post.words
    if "prefix_mass" in values:
        mass, views = (
            values["prefix_mass"],
            view_names(len(diagnosis.instance.views)),
        )  # (layers, words, views)
        yield heat("Attention of words to views, mean over layers", words, views, mass.mean(0))
        yield heat(
            "Attention to views, mean over words", numbered("layer", len(mass)), views, mass.mean(1)
        )
    if "prompt_mass" in values:
        mass = values["prompt_mass"].mean(0)  # (words, prompt)
        positions = numbered("", mass.shape[1])
        yield heat(
            "Attention of words to prompt positions, mean over layers", words, positions, mass
        )
    if "gates" in values:
        yield from _gate_heats(values["gates"], diagnosis.instance.views)
    for number, weights in enumerate(values.get("routing", []), 1):
        targets = [f"to {unit}" for unit in target.units]
        yield heat(f"Routers of fusion layer {number}", target.units, targets, weights)
    for name in sorted(values.keys() - _DRAWN):
        if values[name].ndim == 2:  # of a method that this page knows nothing of
            rows, columns = (numbered("", size) for size in values[name].shape)
            yield heat(name, rows, columns, values[name])


def _gate_heats(gates: Tensor, files: Sequence[Path | None]) -> Iterator[dict[str, Any]]:
    """Gates (layers, views) in one table; gates (layers, views, scales) in one for every view that there is."""
    layers, views = numbered("layer", len(gates)), view_names(gates.shape[1])
    if gates.ndim == 2:
        yield heat("Gates of views", layers, views, gates)
        return
    scales = numbered("scale", gates.shape[2])
    for place, (view, file) in enumerate(zip(views, files, strict=True)):
        if file is not None:
            yield heat(f"Gates of scales, {view}", layers, scales, gates[:, place])


def _similarity_rows(diagnosis: InstanceDiagnosis) -> list[dict[str, Any]]:
    """How the text goes with the pictures of its batch, its own first in bold."""
    told = {
        title: diagnosis.values[name].tolist()
        for name, title in SIMILARITIES.items()
        if name in diagnosis.values
    }
    if not told:
        return []
    return [
        {
            "id": other.post.id,
            "own": other is diagnosis.instance,
            "uri": picture_uri(other.views[0], _THUMBNAIL_SIDE),
            "scores": {title: scores[place] for title, scores in told.items()},
        }
        for place, other in enumerate(diagnosis.batch_mates)
        if other.views[0] is not None
    ]
