"""Lines of answers."""

import json

from helpers.exchanges import exchange

from mmie.reports.certificate.answers import answer_lines
from mmie.reports.certificate.outcomes import ExchangeRecords, exchange_records
from mmie.runs import PredictionRecord
from mmie.types import Entity

PER, LOC, MISC = (Entity(0, 1, name) for name in ("PER", "LOC", "MISC"))


def read_lines(records):
    """Read the lines of records."""
    return [json.loads(line) for line in answer_lines(records).splitlines()]


def test_each_answer_has_the_number_of_pictures_that_it_survives():
    exchanged = exchange(
        gold=[[PER], [LOC], [PER]],
        predictions=[[[PER], [MISC], []], [[PER], [LOC], [LOC]], [[], [MISC], [LOC]]],
        pictures=[0, 1, 2],
        blocks=((0, 1, 2),),
    )
    first, second, third = read_lines(exchange_records(exchanged))
    span = {"text": "Jordan", "start": 0, "end": 1}
    assert first == {
        "id": "0",
        "words": ["Jordan"],
        "image": None,
        "pictures": 2,
        "answers": [{**span, "type": "PER", "right": True, "found": True, "survives": 1}],
    }
    assert second["answers"] == [
        {**span, "type": "LOC", "right": True, "found": False, "survives": 1},
        {**span, "type": "MISC", "right": False, "found": True, "survives": 1},
    ]
    assert third["answers"] == []


def test_a_relation_is_described_by_its_arguments():
    answer = (Entity(0, 1, "/per/loc/at"),)
    arguments = (Entity(0, 1), Entity(2, 3))
    record = PredictionRecord("1", ("A", "in", "B"), "a.jpg", answer, answer, arguments)
    (line,) = read_lines([ExchangeRecords(None, record, ())])
    assert line["pictures"] == 0
    (relation,) = line["answers"]
    assert relation["head"] == {"text": "A", "type": "", "start": 0, "end": 1}
    assert relation["tail"]["text"] == "B"
    assert (relation["label"], relation["right"], relation["survives"]) == ("/per/loc/at", True, 0)
