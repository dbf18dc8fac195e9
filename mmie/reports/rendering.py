"""Templates of HTML and Markdown reports, and the number formats that they share."""

import re
from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mmie.reports.statistics import SCORE_NAMES, MeanAndDeviation
from mmie.utils.pages import PageAssets, read_asset
from mmie.utils.text import escape_markdown, inline_code
from mmie.utils.wording import format_score

TASK_NAMES = {"ner": "entities", "re": "relations"}
"""Names of what each task predicts."""
_NO_VALUE = "\N{EN DASH}"
_SMALLEST_P = 0.0001


def percent(value: float | MeanAndDeviation | None, digits: int = 2) -> str:
    """Format a score in percent, with the standard deviation over several seeds.

    >>> percent(0.5), percent(MeanAndDeviation(0.5, 0.01, (0.49, 0.51))), percent(None)
    ('50.00', '50.00 ± 1.00', '–')
    """
    if value is None:
        return _NO_VALUE
    if not isinstance(value, MeanAndDeviation):
        return format_score(value, digits)
    mean = format_score(value.mean, digits)
    if value.std is None:
        return mean
    return f"{mean} \N{PLUS-MINUS SIGN} {format_score(value.std, digits)}"


def fewer_seeds(value: MeanAndDeviation | int | None, seeds: int) -> str:
    """Name the number of seeds of a score, if it is lower than that of its row.

    Args:
        value: The score, or its number of seeds; None or 0 for a score that is not there.
        seeds: Number of seeds of the row.

    >>> fewer_seeds(MeanAndDeviation(0.5, None, (0.5,)), 3), fewer_seeds(3, 3), fewer_seeds(None, 3)
    ('n = 1', '', '')
    """
    number = len(value.values) if isinstance(value, MeanAndDeviation) else value
    return f"n = {number}" if number and number < seeds else ""


def noted(text: str, value: MeanAndDeviation | int | None, seeds: int) -> str:
    """Add the number of seeds to a formatted score, if it is lower than that of its row.

    >>> noted("50.00", 1, 3), noted("50.00", 3, 3)
    ('50.00 (n = 1)', '50.00')
    """
    note = fewer_seeds(value, seeds)
    return f"{text} ({note})" if note else text


def signed(value: float | None, digits: int = 2) -> str:
    """Format a difference with its sign.

    >>> signed(-1.5), signed(0.25), signed(0.001)
    ('−1.50', '+0.25', '0.00')
    """
    if value is None:
        return _NO_VALUE
    rounded = round(value, digits)
    sign = ""
    if rounded > 0:
        sign = "+"
    elif rounded < 0:
        sign = "\N{MINUS SIGN}"
    return f"{sign}{abs(rounded):.{digits}f}"


def p_value(value: float) -> str:
    """Format a p-value with two significant digits.

    >>> p_value(0.0347), p_value(0.00009)
    ('0.035', '< 0.0001')
    """
    return f"< {_SMALLEST_P:.4f}" if value < _SMALLEST_P else f"{value:.2g}"


def number(value: float | None, digits: int = 1) -> str:
    """Format a number with separators between thousands.

    >>> number(1234567, 0), number(None)
    ('1,234,567', '–')
    """
    return _NO_VALUE if value is None else f"{value:,.{digits}f}"


def page_assets(style: str, script: str = "", framed_styles: tuple[str, ...] = ()) -> PageAssets:
    """Read the style sheet and the script of a report.

    The style sheet also holds a class for each whole percentage, ``share0`` to ``share100``, which
    sets ``--share``: the policy of a page admits no style in attributes.

    Args:
        style: File name of the style sheet.
        script: File name of the script, empty if there is none.
        framed_styles: Style sheets of pages that the report embeds in frames.
    """
    shares = [f".share{share} {{ --share: {share}%; }}\n" for share in range(101)]
    return PageAssets(
        style=read_asset("mmie.reports", f"templates/{style}") + "".join(shares),
        script=read_asset("mmie.reports", f"templates/{script}") if script else "",
        framed_styles=framed_styles,
    )


def html_environment() -> Environment:
    """Build the environment of HTML templates, which escapes every inserted text."""
    return _build_environment(autoescape=True)


def render_markdown_report(template: str, **values: Any) -> str:
    """Fill in a Markdown template, and reduce runs of blank lines to one.

    Args:
        template: File name of the template.
        **values: Values that the template inserts, escaped.
    """
    environment = _build_environment(autoescape=False, finalize=_escape_unless_code)
    environment.filters.update(code=_markdown_code, noted=noted)
    text = environment.get_template(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _markdown_code(value: object) -> Markup:
    """Format a text as inline code of Markdown, which is not escaped any more."""
    return Markup(inline_code(value))


def _escape_unless_code(value: object) -> str:
    """Escape an inserted text for Markdown, unless it is inline code."""
    return value if isinstance(value, Markup) else escape_markdown(value)


def _build_environment(
    autoescape: bool, finalize: Callable[[object], Any] | None = None
) -> Environment:
    """Build a template environment with the number formats as filters."""
    environment = Environment(
        loader=PackageLoader("mmie.reports"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )
    environment.filters.update(
        percent=percent, fewer_seeds=fewer_seeds, signed=signed, p_value=p_value, number=number
    )
    environment.globals.update(task_names=TASK_NAMES, score_names=SCORE_NAMES)
    return environment


def diagnosis_assets() -> PageAssets:
    """Read the style sheet of the pages of `mmie diagnose`, which hold no script."""
    return page_assets("diagnosis.css")
