"""Formats by name, and recognition of the format of a file by its content."""

from pathlib import Path

from mmie.data.text_files import find_encoding
from mmie.formats.base import Format, FormatError
from mmie.formats.brat import Brat
from mmie.formats.conll import Conll
from mmie.formats.datasets import SavedDataset
from mmie.formats.docbin import DocBins
from mmie.formats.doccano import Doccano
from mmie.formats.json_lists import JsonLists
from mmie.formats.jsonl import JsonLines
from mmie.formats.label_studio import LabelStudio
from mmie.formats.parquet import Parquet
from mmie.formats.tables import Tables
from mmie.formats.texts import decode
from mmie.utils.text import did_you_mean

HEAD = 2**16
"""First bytes of a file by which its format is recognised."""
FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        # the first that recognises a file is taken, so that the most specific ones come first
        Brat(),
        SavedDataset(),
        Parquet(),
        DocBins(),
        LabelStudio(),
        Doccano(),
        JsonLines(),
        JsonLists(),
        Tables(),
        Conll(),
    )
}
"""All formats by name, in the order in which they are tried."""


def find_format(name: str) -> Format:
    """Return a format by its name.

    Raises:
        FormatError: There is no such format.
    """
    if name not in FORMATS:
        hint = did_you_mean(name, FORMATS)
        raise FormatError(f"unknown format '{name}': expected one of {', '.join(FORMATS)}{hint}")
    return FORMATS[name]


def recognise(path: Path) -> Format:
    """Return the format of a file or folder, by its content.

    Raises:
        FormatError: The path does not exist, or no format recognises it.
        OSError: The file cannot be read.
    """
    if not path.exists():
        raise FormatError(f"{path}: expected a file or a folder, found none")
    head = read_head(path)
    for format in FORMATS.values():
        if format.recognises(path, head):
            return format
    raise FormatError(
        f"{path}: expected a file of one of the formats {', '.join(FORMATS)}, found another: "
        "name its format by --from"
    )


def read_head(path: Path) -> str:
    """Return the first characters of a text file, and nothing of a folder or a binary file.

    Raises:
        OSError: The file cannot be read.
    """
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        content = stream.read(HEAD)
    if find_encoding(content).startswith("utf-8") and b"\0" in content:
        return ""
    return decode(content, errors="replace")
