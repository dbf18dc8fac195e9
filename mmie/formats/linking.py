"""Relations between numbered entities, for formats whose relations do not hold spans."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmie.data.parsing import Record
from mmie.formats.base import Notes
from mmie.formats.records import Item, list_objects

ARGUMENT = "argument"
"""Type of a span that is written only because a relation needs it. It is no entity when read."""
Link = tuple[int, int, Item]
"""Indices of head and tail among the entities, and the relation."""


def link_relations(record: Record, notes: Notes) -> tuple[list[Item], list[Link]]:
    """Return the entities of a record, and its relations between their indices.

    Heads and tails that are no entities follow the entities.

    Args:
        record: A cleaned record.
        notes: Receives the number of spans that become entities.
    """
    entities = list(list_objects(record, "entities"))
    indices = {(item["start"], item["end"]): index for index, item in enumerate(entities)}
    links: list[Link] = []
    for relation in list_objects(record, "relations"):
        ends = []
        for key in ("head", "tail"):
            argument: Any = relation[key]
            span = argument["start"], argument["end"]
            if span not in indices:
                kind = argument.get("type") or ARGUMENT
                if kind != ARGUMENT:
                    notes.remarks["heads and tails of relations that become entities"] += 1
                indices[span] = len(entities)
                entities.append({"start": span[0], "end": span[1], "type": kind})
            ends.append(indices[span])
        links.append((ends[0], ends[1], relation))
    return entities, links


def unlink_relations(
    entities: Mapping[object, Item], links: Sequence[tuple[object, object, Item]]
) -> tuple[list[Item], list[Item]]:
    """Return entities and relations of a record, the reverse of `link_relations`.

    Args:
        entities: Entities by their ids.
        links: Ids of head and tail, and the relation without them, with its label.

    Raises:
        KeyError: An id is none of an entity.
    """
    relations = []
    for link in links:
        arguments = []
        for name in link[:2]:
            entity = entities[name]
            span = {"start": entity["start"], "end": entity["end"]}
            if entity["type"] != ARGUMENT:
                span["type"] = entity["type"]
            arguments.append(span)
        relations.append({"head": arguments[0], "tail": arguments[1], **link[2]})
    return [item for item in entities.values() if item["type"] != ARGUMENT], relations


def count_probabilities(record: Record, notes: Notes) -> None:
    """Count the probabilities of a record, for a format that holds none."""
    count = 0
    for item in list_objects(record, "entities") + list_objects(record, "relations"):
        count += "probability" in item
    if count:
        notes.unused["probabilities that the format cannot hold"] += count
