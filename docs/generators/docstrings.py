"""Extension of Griffe: docstrings in reStructuredText as Markdown."""

import re
import sys
from pathlib import Path
from typing import Any

from griffe import Extension, Object

sys.path.insert(0, str(Path(__file__).parent))  # Griffe loads this file by its path

from tables import convert_tables

_DOCTEST = re.compile(r"^( *)>>> .*(?:\n\1\S.*)*", re.MULTILINE)


class MarkdownDocstrings(Extension):
    """Converts the tables of docstrings to Markdown, and sets their doctests as code."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Convert the docstring of an object."""
        if obj.docstring is not None:
            obj.docstring.value = convert_docstring(obj.docstring.value)


def convert_docstring(docstring: str) -> str:
    """Convert the tables of a docstring, and fence its doctests."""
    fenced = _DOCTEST.sub(r"\1```pycon\n\g<0>\n\1```", docstring)
    return convert_tables(fenced)
