"""Text files of formats: their first line, reading with bounds, and writing."""

import ast
import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmie.data.text_files import find_encoding
from mmie.formats.base import FormatError
from mmie.utils.files import atomic_write
from mmie.utils.text import describe_os_error


def read_bytes(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        FormatError: The path is no file that can be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise FormatError(describe_os_error(error)) from None


def decode(content: bytes, errors: str = "surrogateescape") -> str:
    """Return the text of a file: UTF-8, UTF-16 or UTF-32, without its byte-order mark.

    Args:
        content: The bytes.
        errors: What becomes of bytes that are no UTF-8: see `bytes.decode`.
    """
    encoding = find_encoding(content)
    is_utf8 = encoding.startswith("utf-8")
    return content.decode(encoding, errors if is_utf8 else "replace").removeprefix("\ufeff")


def first_json_line(head: str) -> Any:
    """Return the value of the first line that is not blank, or None if it is no JSON."""
    for line in head.splitlines():
        if line.strip():
            return parse_json(line)
    return None


def parse_json(text: str) -> Any:
    """Return the value of a JSON text, or None if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def parse_literal(text: str) -> Any:
    """Return the value that a text spells in Python, with lists in place of tuples, or None.

    Nothing is evaluated. A value that JSON cannot hold is none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of backslashes
            return json.loads(json.dumps(ast.literal_eval(text.strip())))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError, OverflowError):
        return None


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write the lines of a UTF-8 file atomically.

    Args:
        path: The file.
        lines: Lines with their ends.
    """

    def write(partial: Path) -> None:
        with partial.open("w", encoding="utf-8", errors="replace", newline="") as stream:
            stream.writelines(lines)

    atomic_write(path, write)
