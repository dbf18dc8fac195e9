"""Known shares of the demo corpus, and the table of a calibration."""

import json

import pytest
from helpers.exchanges import build_certificate
from rich.console import Console

from mmie.reports.certificate.calibration import (
    calibration_table,
    known_share,
    summarise_calibration,
    write_calibration,
)
from mmie.reports.certificate.outcomes import ExchangeRecords
from mmie.runs import PredictionRecord
from mmie.types import Entity

PER, LOC = (Entity(0, 1, name) for name in ("PER", "LOC"))


def records(*posts):
    """Build records of posts with a gold person, each with its id and whether it is found."""
    entries = []
    for name, is_found in posts:
        predicted = (PER,) if is_found else (LOC,)
        record = PredictionRecord(name, ("Jordan",), None, (PER,), predicted)
        entries.append(ExchangeRecords(0, record, ()))
    return entries


def test_the_known_share_is_corrected_for_guessing():
    text = [("8-noise", True)] * 4 + [("9-noise", False)]
    all_read = records(*text, *[("1-picture", True)] * 4)
    assert known_share(all_read) == pytest.approx(4 / 8)
    guessed = records(*text, ("1-picture", True), *[("2-picture", False)] * 3)
    assert known_share(guessed) == 0
    # two of four are read, and half of one is guessed right
    half = records(*text, *text, *[("1-picture", True)] * 5, *[("2-picture", False)] * 3)
    assert known_share(half) == pytest.approx(4 / 13)
    assert known_share(records(("1-picture", False))) == 0


def test_a_row_counts_the_claims(tmp_path):
    certificates = [build_certificate(0.01), build_certificate(0.5)]
    row = summarise_calibration(0.25, certificates, [0.2, 0.3])
    assert (row.runs, row.claims, row.assignment) == (2, 1, "right")
    assert row.true_share == pytest.approx(0.25)
    assert row.p_values == (0.01, 0.5)
    console = Console(width=120)
    with console.capture() as capture:
        console.print(calibration_table([row]))
    assert "1 of 2" in capture.get()
    (content,) = json.loads(write_calibration([row], tmp_path).read_text())
    assert content["needing"] == [0.3, 0.3]
