"""Calibration of certificates on corpora in which the share that needs the pictures is known."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from rich.table import Table

from mmie.data.demo.posts import GROUP
from mmie.reports.certificate.certificate import Certificate
from mmie.reports.certificate.outcomes import ExchangeRecords
from mmie.reports.rendering import percent
from mmie.utils.files import atomic_write_texts

NEEDS_PICTURE = "-picture"
"""Ending of the ids of the demo corpus's posts that the picture alone decides."""


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """Certificates on corpora of one share.

    Attributes:
        share: Share of posts that the picture alone decides.
        assignment: ``right``, or ``shuffled`` where no picture can help.
        runs: Number of certificates.
        claims: Number of those that find a use of the right pictures.
        f1: Mean F1.
        true_share: Mean of the share of `known_share`; 0 for shuffled pictures.
        needing: Estimated share of each certificate.
        lost: Lost share of each certificate.
        p_values: p-value of each certificate.
    """

    share: float
    assignment: str
    runs: int
    claims: int
    f1: float
    true_share: float
    needing: tuple[float, ...]
    lost: tuple[float, ...]
    p_values: tuple[float, ...]


def summarise_calibration(
    share: float, certificates: Sequence[Certificate], true_shares: Sequence[float]
) -> CalibrationRow:
    """Summarise the certificates on corpora of one share.

    Args:
        share: Share of posts that the picture alone decides.
        certificates: The certificates.
        true_shares: Share of the true answers of each that needs the pictures.
    """
    totals = [certificate.total for certificate in certificates]
    return CalibrationRow(
        share=share,
        assignment=certificates[0].assignment,
        runs=len(certificates),
        claims=sum(certificate.is_significant for certificate in certificates),
        f1=fmean(use.f1 for use in totals),
        true_share=fmean(true_shares),
        needing=tuple(use.needing.value for use in totals),
        lost=tuple(use.lost.value for use in totals),
        p_values=tuple(use.p_value for use in totals),
    )


def known_share(records: Sequence[ExchangeRecords]) -> float:
    """Compute the share of the true answers that are read off the picture.

    In posts that the picture alone decides, the words leave four types that are equally frequent.
    Of n gold answers there, guessing finds n / 4, and reading r of them off the picture finds
    r + (n - r) / 4. Hence r = (found - n / 4) / (3 / 4).

    Args:
        records: Predictions for a split of the demo corpus with the right pictures.
    """
    found, gold, total = 0, 0, 0
    for entry in records:
        true_answers = len(set(entry.right.predicted) & set(entry.right.gold))
        total += true_answers
        if entry.right.id.endswith(NEEDS_PICTURE):
            found += true_answers
            gold += len(set(entry.right.gold))
    return max(0.0, found - gold / GROUP) / (1 - 1 / GROUP) / max(1, total)


def calibration_table(rows: Sequence[CalibrationRow]) -> Table:
    """Build a table with a row for each share."""
    table = Table(title="Calibration: shares in percent, means over the runs")
    table.add_column("pictures")
    headings = ("posts", "runs", "F1", "true share", "estimated", "from", "to", "lost", "claims")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        shares = (row.true_share, fmean(row.needing), min(row.needing), max(row.needing))
        cells = [percent(value, 1) for value in (*shares, fmean(row.lost))]
        counts = (percent(row.share, 0), str(row.runs), percent(row.f1, 1))
        table.add_row(row.assignment, *counts, *cells, f"{row.claims} of {row.runs}")
    return table


def write_calibration(rows: Sequence[CalibrationRow], folder: Path) -> Path:
    """Write a calibration as JSON.

    Raises:
        OSError: The file cannot be written.
    """
    content = [asdict(row) for row in rows]
    (file,) = atomic_write_texts(folder, {"calibration.json": json.dumps(content, indent=2) + "\n"})
    return file
