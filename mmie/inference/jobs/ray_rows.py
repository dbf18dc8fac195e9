"""Posts in files of JSON lines or Parquet, near or in object storage, as rows; and rows of what was found in them.

A line of JSON is a post as `mmie.data.sources` reads it; a row of Parquet has the same keys for columns, absent or
null where there is nothing, other columns aside, and its ``image`` may be the bytes of one.
"""

import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from mmie.data.parsing import MalformedLine
from mmie.data.post_json import parse_post
from mmie.data.sources import SourceError
from mmie.inference.formats.text import to_json
from mmie.types import Extraction, Post
from mmie.utils.optional import require

COLUMNS = ("id", "text", "words", "image", "crops", "context", "entities", "relations")
"""What is read of a row of Parquet."""
MAX_BYTES = 100_000_000
"""Of a picture in object storage no more bytes are read, so that a larger one counts as truncated."""
_PARQUET, _JSONL = ".parquet", (".jsonl", ".ndjson")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Source(NamedTuple):
    """Files of posts.

    Attributes:
        files: Their names on the file system, in order.
        folder: Path or URL of the folder that they are in.
    """

    files: tuple[str, ...]
    folder: str


def locate(place: str) -> tuple[Any, str]:
    """The ``pyarrow`` file system of a path or URL (``s3://``, ``gs://``, ``file://``...), and the name there.

    Raises:
        SourceError: It is no place that pyarrow can reach.
    """
    fs = require("pyarrow.fs", "ray")
    try:
        system, name = fs.FileSystem.from_uri(place if "://" in place else os.path.abspath(place))
    except (ValueError, OSError, NotImplementedError) as error:
        raise _unusable(place, error) from error
    return system, name


def find_source(place: str) -> Source:
    """The files that a path or URL names: one, or all of a folder, at any depth, in order of their names.

    Raises:
        SourceError: There are none, or they are of two kinds.
    """
    fs = require("pyarrow.fs", "ray")
    system, name = locate(place)
    try:
        info = system.get_file_info(name)
        is_folder = info.type == fs.FileType.Directory
        infos = system.get_file_info(fs.FileSelector(name, recursive=True)) if is_folder else [info]
    except OSError as error:
        raise _unusable(place, error) from error
    if info.type == fs.FileType.NotFound:
        raise SourceError(f"'{place}' does not exist")
    files = sorted(entry.path for entry in infos if entry.path.endswith((_PARQUET, *_JSONL)))
    if not files:
        raise SourceError(f"'{place}' holds no .parquet and no .jsonl file")
    if len({file.endswith(_PARQUET) for file in files}) > 1:
        raise SourceError(
            f"'{place}' holds both .parquet and .jsonl files: name one of them, or a folder of one kind"
        )
    return Source(
        tuple(files),
        place if is_folder else place.rpartition("/")[0] or ("/" if place[0] == "/" else "."),
    )


def row_schema() -> Any:
    """Columns of posts on their way: a name, a line of JSON, and the bytes of a picture that stands for its."""
    pa = require("pyarrow", "ray")
    return pa.schema(
        [("name", pa.string()), ("line", pa.large_binary()), ("picture", pa.large_binary())]
    )


def result_schema() -> Any:
    """Columns of results: what `to_json` says, and ``problems``, which may be empty."""
    pa = require("pyarrow", "ray")
    place = [
        ("text", pa.string()),
        ("type", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
    ]
    probability = ("probability", pa.float64())
    relation = [
        ("head", pa.struct(place)),
        ("label", pa.string()),
        ("tail", pa.struct(place)),
        probability,
    ]
    return pa.schema(
        [
            ("id", pa.string()),
            ("text", pa.string()),
            ("entities", pa.list_(pa.struct([*place, probability]))),
            ("relations", pa.list_(pa.struct(relation))),
            ("problems", pa.list_(pa.string())),
        ]
    )


def read_rows(system: Any, file: str, prefix: str = "") -> Iterator[dict[str, Any]]:
    """Rows of `row_schema`, named by their line or row in the file, from 1, behind a prefix.

    Raises:
        SourceError: The file cannot be read.
    """
    read = _read_parquet if file.endswith(_PARQUET) else _read_jsonl
    try:
        for number, line, picture in read(system, file):
            yield {"name": f"{prefix}{number}", "line": line, "picture": picture}
    except OSError as error:
        raise _unusable(file, error) from error


def to_post(row: Mapping[str, Any], system: Any, folder: str) -> Post[Any] | str:
    """The post of a row, or what is wrong with it.

    Args:
        row: A row of `row_schema`.
        system: The file system of the pictures.
        folder: Where they lie on it; none outside is opened.
    """
    try:
        post: Post[Any] = parse_post(row["line"].decode(), Path(folder), row["name"])
    except (MalformedLine, UnicodeDecodeError) as error:
        return f"post: {_writable(str(error))}"
    if row["picture"] is not None:
        return replace(post, image=row["picture"])
    if system.type_name == "local":
        return post
    image = None if post.image is None else _fetch(post.image, system)
    return replace(post, image=image, crops=tuple(_fetch(crop, system) for crop in post.crops))


def to_result(extraction: Extraction) -> dict[str, Any]:
    """A row of `result_schema`."""
    return {"problems": [], **to_json(extraction)}


def _read_parquet(system: Any, file: str) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Numbered rows of a Parquet file as lines of JSON, and the bytes of their pictures.

    Extension types are refused: Ray knows one that runs what the file says when a value is taken from it.
    """
    pa, parquet = require("pyarrow", "ray"), require("pyarrow.parquet", "ray")
    with system.open_input_file(file) as stream:
        try:
            table = parquet.ParquetFile(stream)
        except ValueError as error:
            raise _unusable(file, error) from error
        types = {field.name: field.type for field in table.schema_arrow if field.name in COLUMNS}
        if not {"text", "words"} & types.keys():
            raise SourceError(f"'{file}' has neither a column 'text' nor a column 'words'")
        if any(isinstance(kind, pa.BaseExtensionType) for kind in types.values()):
            raise SourceError(
                f"'{file}' has columns of an extension type: expected plain strings, lists and bytes"
            )
        number = 0
        for batch in table.iter_batches(256, columns=list(types)):
            for record in batch.to_pylist():
                number += 1
                yield number, *_to_line(record)


def _to_line(record: dict[str, Any]) -> tuple[bytes, bytes | None]:
    """A line of JSON of what a row says, and the bytes of its picture."""
    image, picture = record.pop("image", None), None
    if isinstance(image, dict):  # as Hugging Face's data sets hold pictures
        image = image.get("bytes") or image.get("path")
    if isinstance(image, bytes):
        image, picture = None, image
    known = {key: value for key, value in {**record, "image": image}.items() if value is not None}
    return json.dumps(known, default=str).encode(), picture


def _read_jsonl(system: Any, file: str) -> Iterator[tuple[int, bytes, None]]:
    """Numbered lines that are not blank."""
    with system.open_input_stream(file) as stream:
        for number, line in enumerate(io.BufferedReader(stream, 1 << 20), 1):
            if line.strip():
                yield (
                    number,
                    (line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line).rstrip(b"\r\n"),
                    None,
                )


def _fetch(picture: Path, system: Any) -> Path | bytes:
    """The bytes of a picture elsewhere; its path, which is nowhere on this machine, if it cannot be read."""
    try:
        with system.open_input_stream(PurePosixPath(picture).as_posix()) as stream:
            content: bytes = stream.read(MAX_BYTES)
    except OSError:
        return picture
    return content


def _writable(text: str) -> str:
    """The text with ``?`` in place of lone surrogates, which no column holds."""
    return text.encode(errors="replace").decode()


def _unusable(place: str, error: Exception) -> SourceError:
    return SourceError(
        f"'{place}' cannot be used: {(str(error) or type(error).__name__).splitlines()[0]}"
    )
