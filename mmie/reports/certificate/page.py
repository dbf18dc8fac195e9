"""Files and summary of a certificate."""

import json
from dataclasses import asdict
from pathlib import Path

from mmie.reports.certificate.certificate import Certificate, Interval
from mmie.reports.rendering import (
    TASK_NAMES,
    p_value,
    percent,
    render_markdown_report,
    signed,
)
from mmie.utils.files import atomic_write_texts


def summary_lines(certificate: Certificate) -> list[str]:
    """Summarise a certificate in plain sentences."""
    use = certificate.total
    difference = interval_text(use.difference, is_signed=True)
    worth = (
        f"The right picture is worth {difference}, p = {p_value(use.p_value)}: F1 is "
        f"{percent(use.f1)} with the right pictures, {percent(use.other_f1)} with those of other "
        "posts."
    ).replace("p = <", "p <")
    shares = (
        f"Of {use.true_answers} true answers, {percent(use.lost.value, 1)} % are lost with the "
        f"picture of another post. An estimated {interval_text(use.needing)} need the right one."
    )
    verdict = "There is no evidence that the answers depend on the right picture."
    if certificate.is_significant:
        verdict = "The answers depend on the right picture."
    return [worth, shares, verdict]


def interval_text(interval: Interval, is_signed: bool = False) -> str:
    """Format an estimate in percent with its interval.

    >>> interval_text(Interval(0.021, 0.012, 0.03), is_signed=True)
    '+2.10 F1 (95 % interval +1.20 to +3.00)'
    >>> interval_text(Interval(0.5, 0.4, 0.6))
    '50.0 % (95 % interval 40.0 to 60.0)'
    """
    values = (interval.value, interval.low, interval.high)
    if is_signed:
        value, low, high = (signed(100 * number) for number in values)
        return f"{value} F1 (95 % interval {low} to {high})"
    value, low, high = (percent(number, 1) for number in values)
    return f"{value} % (95 % interval {low} to {high})"


def to_markdown(certificate: Certificate) -> str:
    """Render a certificate as Markdown."""
    return render_markdown_report(
        "certificate.md",
        certificate=certificate,
        summary=summary_lines(certificate),
        tables={"All answers": [certificate.total], **certificate.parts},
        answers=TASK_NAMES[certificate.task],
    )


def write_certificate(certificate: Certificate, answers: str, folder: Path) -> list[Path]:
    """Write a certificate as Markdown and JSON, and the lines of its answers.

    Args:
        certificate: The certificate.
        answers: Lines of `mmie.reports.certificate.answers.answer_lines`.
        folder: Folder of the three files.

    Raises:
        OSError: A file cannot be written. Older files stay as they are.
    """
    content = {**asdict(certificate), "significant": certificate.is_significant}
    texts = {
        "certificate.md": to_markdown(certificate),
        "certificate.json": json.dumps(content, indent=2) + "\n",
        "answers.jsonl": answers,
    }
    return atomic_write_texts(folder, texts)
