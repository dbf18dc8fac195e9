"""Content of the page of a post: its text, its views, and the method's numbers."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmie.data.instances import Instance
from mmie.reports.diagnosis.diagnosis import SIMILARITIES, InstanceDiagnosis
from mmie.reports.diagnosis.figures import (
    correlation_histogram,
    heat_table,
    numbered,
    path_diagram,
    view_names,
)
from mmie.reports.diagnosis.target import DiagnosisTarget
from mmie.reports.pictures import picture_data_uri
from mmie.types import Entity

_CARD_SIDE, _THUMBNAIL_SIDE = 320, 64
_KNOWN_VALUES = frozenset(
    {
        "view_support",
        "view_change",
        "representation",
        "prefix_mass",
        "prompt_mass",
        "gates",
        "routing",
        "paths",
        "correlation",
        *SIMILARITIES,
    }
)
"""Values that have a table or diagram of their own, or none on purpose."""
_NUMBER_TITLES = {
    "relevance": "relevance of the picture, β",
    "match": "match of text and picture (a gate opens above 0.5)",
}


def post_section(target: DiagnosisTarget, diagnosis: InstanceDiagnosis) -> dict[str, Any]:
    """Collect the content of the page for one instance, by the names of the template."""
    instance, prediction, values = diagnosis.instance, diagnosis.prediction, diagnosis.values
    words = instance.post.words
    paths, correlation = values.get("paths"), values.get("correlation")
    return {
        "relation": instance.relation,
        "predicted_relation": prediction.relations[0].label if prediction.relations else None,
        "gold": split_text(words, _marked_entities(instance)),
        "predicted": split_text(words, prediction.entities),
        "views": _view_cards(diagnosis),
        "numbers": _numbers(values),
        "tables": list(_tables(target, diagnosis)),
        "paths": None if paths is None else path_diagram(paths.numpy(), target.units),
        "correlation": None if correlation is None else correlation_histogram(correlation),
        "similarities": _similarity_rows(diagnosis),
    }


def split_text(words: Sequence[str], entities: Iterable[Entity]) -> list[tuple[str, str]]:
    """Split a text at the boundaries of entities.

    Returns:
        Pairs of words and entity type, which is empty outside entities.

    >>> split_text(["Jordan", "lands", "in", "Paris"], [Entity(0, 1, "PER")])
    [('Jordan', 'PER'), ('lands in Paris', '')]
    """
    segments, end = [], 0
    for entity in sorted(entities):
        segments.append((" ".join(words[end : entity.start]), ""))
        segments.append((" ".join(words[entity.start : entity.end]), entity.type))
        end = max(end, entity.end)
    segments.append((" ".join(words[end:]), ""))
    return [(text, entity_type) for text, entity_type in segments if text]


def _marked_entities(instance: Instance) -> tuple[Entity, ...]:
    """Return head and tail of the relation that was asked about, or the gold entities."""
    if instance.relation is None:
        return instance.post.entities
    head, tail = instance.relation.head, instance.relation.tail
    return Entity(head.start, head.end, "head"), Entity(tail.start, tail.end, "tail")


def _view_cards(diagnosis: InstanceDiagnosis) -> list[dict[str, Any]]:
    """Collect for each view its picture, its effect on the prediction and its attention."""
    support = diagnosis.values["view_support"].tolist()
    change = diagnosis.values["view_change"].tolist()
    mass = diagnosis.values.get("prefix_mass")  # (layers, words, views)
    attention = None if mass is None else mass.mean((0, 1)).tolist()
    cards = []
    for index, name in enumerate(view_names(len(support), diagnosis.num_images)):
        card = {
            "name": name,
            "uri": picture_data_uri(diagnosis.instance.views[index], _CARD_SIDE),
            "support": support[index],
            "change": change[index],
            "mass": None if attention is None else attention[index],
        }
        cards.append(card)
    return cards


def _numbers(values: dict[str, Tensor]) -> list[tuple[str, float]]:
    """Collect the values that are a single number, with their titles."""
    numbers = []
    for name, value in values.items():
        if value.ndim == 0:
            numbers.append((_NUMBER_TITLES.get(name, name), value.item()))
    if "relevance" in values:
        numbers.append(("gate, tanh(β)", torch.tanh(values["relevance"]).item()))
    return numbers


def _tables(target: DiagnosisTarget, diagnosis: InstanceDiagnosis) -> Iterator[dict[str, Any]]:
    """Yield the tables of attention, gates and routing, and those of other values."""
    values, views = diagnosis.values, diagnosis.instance.views
    words = diagnosis.instance.post.words
    if "prefix_mass" in values:
        mass = values["prefix_mass"]  # (layers, words, views)
        names = view_names(len(views), diagnosis.num_images)
        yield heat_table(
            "Attention of words to views, mean over layers", words, names, mass.mean(0)
        )
        layers = numbered("layer", len(mass))
        yield heat_table("Attention to views, mean over words", layers, names, mass.mean(1))
    if "prompt_mass" in values:
        mass = values["prompt_mass"].mean(0)  # (words, prefix)
        caption = "Attention of words to prompt positions, mean over layers"
        yield heat_table(caption, words, numbered("", mass.shape[1]), mass)
    if "gates" in values:
        names = view_names(len(views), diagnosis.num_images)
        yield from _gate_tables(values["gates"], names, views)
    for number, weights in enumerate(values.get("routing", []), start=1):
        targets = [f"to {unit}" for unit in target.units]
        yield heat_table(f"Routers of fusion layer {number}", target.units, targets, weights)
    for name in sorted(values.keys() - _KNOWN_VALUES):
        table = values[name]
        if table.ndim == 2:
            rows, columns = numbered("", table.shape[0]), numbered("", table.shape[1])
            yield heat_table(name, rows, columns, table)


def _gate_tables(
    gates: Tensor, names: Sequence[str], views: Sequence[Path | None]
) -> Iterator[dict[str, Any]]:
    """Yield one table of gates, or one for each readable view if there is a gate for each scale.

    Args:
        gates: (layers, views) or (layers, views, scales).
        names: Names of the views.
        views: Files of the views.
    """
    layers = numbered("layer", len(gates))
    if gates.ndim == 2:
        yield heat_table("Gates of views", layers, names, gates)
        return
    scales = numbered("scale", gates.shape[2])
    for index, (name, file) in enumerate(zip(names, views, strict=True)):
        if file is not None:
            yield heat_table(f"Gates of scales, {name}", layers, scales, gates[:, index])


def _similarity_rows(diagnosis: InstanceDiagnosis) -> list[dict[str, Any]]:
    """Collect the similarities of the text with every picture of its batch."""
    scores = {}
    for name, title in SIMILARITIES.items():
        if name in diagnosis.values:
            scores[title] = diagnosis.values[name].tolist()
    if not scores:
        return []
    rows = []
    for index, other in enumerate(diagnosis.batch_mates):
        if other.views[0] is None:
            continue
        row = {
            "id": other.post.id,
            "own": other is diagnosis.instance,
            "uri": picture_data_uri(other.views[0], _THUMBNAIL_SIDE),
            "scores": {title: values[index] for title, values in scores.items()},
        }
        rows.append(row)
    return rows
