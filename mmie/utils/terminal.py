"""Printing of foreign texts: as they are, with control characters spelled out.

Everything that the package prints for people passes through here. Labels, ids and paths may hold
square brackets, which rich would read as markup, and characters that a terminal obeys.
"""

import re
from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

_CONTROL = (
    "\x00-\x09\x0b-\x1f\x7f-\x9f"  # commands of a terminal
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # line ends, and marks that turn the direction
    "\ud800-\udfff"  # lone surrogates, which no stream can write
)
_SPELLED_OUT = re.compile(f"[{_CONTROL}]")
_SPELLED_OUT_IN_LINE = re.compile(f"[\n{_CONTROL}]")


def printable(text: object, multiline: bool = False) -> str:
    r"""Spell out the characters of a text that a terminal would obey.

    Args:
        text: The text, or a value that is converted to one.
        multiline: Keep line feeds.

    >>> printable("a\x1b]0;title\x07b[/c]\n")
    'a\\x1b]0;title\\x07b[/c]\\n'
    """
    pattern = _SPELLED_OUT if multiline else _SPELLED_OUT_IN_LINE
    return pattern.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


class PlainConsole(Console):
    """Console that reads no markup in texts and spells out their control characters.

    Args:
        stderr: Print to standard error.
        **settings: Further settings of rich's console.
    """

    def __init__(self, stderr: bool = False, **settings: Any) -> None:
        super().__init__(stderr=stderr, **{"markup": False, "emoji": False, **settings})

    def render_str(self, text: str, **settings: Any) -> Text:
        """Convert a string to a text whose width is that of what is printed."""
        return super().render_str(printable(text, multiline=True), **settings)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render to segments. Only rich's own segments hold control characters."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text, multiline=True), segment.style)


def print_lines(*lines: object, file: IO[str] | None = None) -> None:
    """Print each value on a line of its own.

    Args:
        *lines: Texts or paths.
        file: Where to print; None is standard output.
    """
    for line in lines:
        print(printable(line), file=file, flush=True)
