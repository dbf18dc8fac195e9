"""Equations as MathML, which browsers show without a script, a font or a network."""

import html
import re

from latex2mathml.converter import convert

_EQUATION = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">(?P<open>\\\(|\\\[)(?P<latex>.*?)\\[)\]]</(?P=tag)>',
    re.DOTALL,
)


def convert_equations(page: str) -> str:
    r"""Replace the equations that ``pymdownx.arithmatex`` has marked by MathML.

    Args:
        page: HTML of a page, with ``\(...\)`` and ``\[...\]`` in elements of class ``arithmatex``.
    """
    return _EQUATION.sub(_convert_equation, page)


def _convert_equation(match: re.Match[str]) -> str:
    """Convert one equation."""
    latex = html.unescape(match["latex"])
    if match["open"] == r"\(":
        return convert(latex, display="inline")
    # MathML does not scroll in Chromium, the element around it does
    return f'<div class="equation">{convert(latex, display="block")}</div>'
