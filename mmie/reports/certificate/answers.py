"""Lines of the answers: in how many other pictures each of them survives."""

import json
from collections.abc import Sequence
from typing import Any

from mmie.data.records import span_record
from mmie.reports.certificate.outcomes import ExchangeRecords
from mmie.runs import PredictionRecord
from mmie.types import Entity


def answer_lines(records: Sequence[ExchangeRecords]) -> str:
    """Return a line of JSON for each instance.

    A line has the ``id`` and ``words`` of the post, the number of other ``pictures`` that it was
    tried with, and the ``answers``: those with the right picture, whether each is ``right`` and in
    how many other pictures it ``survives``. Gold answers that are found with other pictures alone
    have ``found`` false.
    """
    return "".join(json.dumps(_line(entry), ensure_ascii=False) + "\n" for entry in records)


def _line(entry: ExchangeRecords) -> dict[str, Any]:
    """Return the record of one instance."""
    record = entry.right
    answers = []
    for entity in sorted({*record.predicted, *record.gold}):
        found, *in_others = entry.found(entity)
        if found or any(in_others):
            answer = {
                **_describe(record, entity),
                "right": entity in record.gold,
                "found": found,
                "survives": sum(in_others),
            }
            answers.append(answer)
    return {
        "id": record.id,
        "words": record.words,
        "image": record.image,
        "pictures": len(entry.others),
        "answers": answers,
    }


def _describe(record: PredictionRecord, entity: Entity) -> dict[str, Any]:
    """Return the record of an entity, or of a relation between its arguments."""
    if not record.arguments:
        return _span(record.words, entity)
    head, tail = (_span(record.words, entity) for entity in record.arguments)
    return {"head": head, "label": entity.type, "tail": tail}


def _span(words: Sequence[str], entity: Entity) -> dict[str, Any]:
    """Return the record of an entity."""
    text = " ".join(words[entity.start : entity.end])
    return span_record(text, entity.type, entity.start, entity.end)
