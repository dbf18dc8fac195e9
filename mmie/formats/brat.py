"""Documents of brat: ``<id>.txt`` with ``<id>.ann`` beside it, in a folder or as one pair.

Entities (``T``) and binary relations (``R``) are read. Offsets count characters. Entities of
several pieces, events, attributes, normalisations, notes and equivalences are counted as not used.
Pictures that lie beside a text under its name belong to the post.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from mmie.data.parsing import MalformedLine, Record
from mmie.data.sources import BadPost
from mmie.formats.base import Format, FormatError, Notes, ReadOptions
from mmie.formats.cleaning import count_unheld, in_characters
from mmie.formats.linking import count_probabilities
from mmie.formats.pictures import PictureFinder
from mmie.formats.records import Item, list_objects
from mmie.utils.files import atomic_folder
from mmie.utils.text import describe_os_error, safe_repr

_KINDS = {
    "E": "events",
    "A": "attributes",
    "M": "attributes",
    "N": "normalisations",
    "#": "notes",
    "*": "equivalences",
}
"""Kinds of annotations that are not used, by the first character of their line."""
_ENTITY = re.compile(
    r"(?P<id>T\S*)\t(?P<type>\S+) (?P<spans>[0-9]+ [0-9]+(?:;[0-9]+ [0-9]+)*)\t(?P<text>.*)"
)
_RELATION = re.compile(
    r"R\S*\t(?P<label>\S+) (?P<one>\S+?):(?P<a>T\S*) (?P<two>\S+?):(?P<b>T\S*)\s*"
)
_NAME = re.compile(r"[^\w.-]")
_HELD = {"id", "words", "text", "entities", "relations"}
"""Keys of a record that are written."""
_MAX_NAME = 100
_MAX_DIGITS = 9
_Document = tuple[str, Path]
"""Id of a document, and its path without suffix."""


class Brat(Format):
    """Standoff annotations of brat."""

    name = "brat"
    description = "folder of brat: <id>.txt and <id>.ann; or one such pair"
    holds_pictures = False

    def recognises(self, path: Path, head: str) -> bool:
        """Tell whether a folder holds annotations, or a file is one of a pair."""
        if path.is_dir():
            return next(path.rglob("*.ann"), None) is not None
        if path.suffix == ".ann":
            return True
        return path.suffix == ".txt" and path.with_suffix(".ann").is_file()

    def read(self, path: Path, options: ReadOptions, notes: Notes) -> Iterator[Record | BadPost]:
        """Yield a record for each document, in the order of their names.

        Raises:
            FormatError: The folder holds no documents, or columns or a split are chosen.
        """
        if options.columns or options.split is not None:
            raise FormatError("brat takes neither --columns nor --split: its files say it all")
        documents = _documents(path)
        folder = path if path.is_dir() else path.parent
        pictures = PictureFinder(options.pictures or folder, search=False)
        notes.found.append(f"{len(documents)} documents, offsets in characters")
        for name, stem in documents:
            try:
                record = _read_document(stem, notes)
            except MalformedLine as error:
                place = f"{name}.ann"
                if error.line is not None:
                    place += f":{error.line}"
                yield BadPost.of(place, error, name)
                continue
            except OSError as error:
                yield BadPost(name, describe_os_error(error), "file", name)
                continue
            files = pictures.find_all(name)
            if files:
                record["image"] = files[0]
            if len(files) > 1:
                notes.unused["further pictures of the name of a document"] += len(files) - 1
            yield {"id": name, **record}

    def write(self, records: Iterable[Record], path: Path, notes: Notes) -> None:
        """Write a text and its annotations for each record into a new or empty folder.

        Raises:
            FormatError: The folder holds something.
        """
        try:
            with atomic_folder(path) as folder:
                taken: set[str] = set()
                for record in records:
                    name = _file_name(str(record["id"]), taken, notes)
                    _write_document(folder / name, in_characters(record))
                    count_unheld(record, _HELD, notes)
                    count_probabilities(record, notes)
        except FileExistsError as error:
            raise FormatError(f"{error}: name a new folder by --out") from None


def _documents(path: Path) -> list[_Document]:
    """Return the documents of a folder, or the one of a pair.

    Raises:
        FormatError: The folder holds no documents.
    """
    if not path.is_dir():
        return [(path.stem, path.with_suffix(""))]
    stems: set[Path] = set()
    for suffix in ("*.ann", "*.txt"):
        for file in path.rglob(suffix):
            if not file.name.startswith("."):
                stems.add(file.with_suffix(""))
    if not stems:
        raise FormatError(f"{path}: expected files <id>.txt and <id>.ann, found none")
    return [(stem.relative_to(path).as_posix(), stem) for stem in sorted(stems)]


def _read_document(stem: Path, notes: Notes) -> Record:
    """Return the record of a document.

    Raises:
        MalformedLine: A file is missing or no UTF-8, or an annotation is malformed.
        OSError: A file cannot be read.
    """
    contents = []
    for suffix in (".txt", ".ann"):
        file = stem.with_name(f"{stem.name}{suffix}")
        if not os.path.lexists(file):
            raise MalformedLine(f"a file {file.name}", "none")
        try:
            contents.append(file.read_bytes().decode())
        except UnicodeDecodeError as error:
            raise MalformedLine("UTF-8 text", f"{error.reason} in {file.name}") from None
    text, annotations = contents
    if text.startswith("\ufeff"):
        text = " " + text[1:]  # it counts as a character
    return {"text": text, **_read_annotations(annotations, text, notes)}


def _read_annotations(annotations: str, text: str, notes: Notes) -> Record:
    """Return the entities and relations of a document.

    Raises:
        MalformedLine: A line is malformed.
    """
    entities: dict[str, Item | None] = {}
    matches: list[tuple[int, re.Match[str]]] = []
    unused: Counter[str] = Counter()
    for number, line in enumerate(annotations.split("\n"), start=1):
        line = line.removesuffix("\r")
        if not line.strip():
            continue
        if line[0] in _KINDS:
            unused[_KINDS[line[0]]] += 1
        elif match := _ENTITY.fullmatch(line):
            entities[match["id"]] = _entity(match, text, number)
            unused["entities of several pieces"] += entities[match["id"]] is None
        elif match := _RELATION.fullmatch(line):
            matches.append((number, match))
        else:
            raise MalformedLine("an annotation of brat", safe_repr(line), number)
    relations = []
    for number, match in matches:
        relation = _relation(match, entities, number)
        if relation is None:
            unused["relations of entities of several pieces"] += 1
        else:
            relations.append(relation)
    notes.unused.update(+unused)
    whole = [dict(entity) for entity in entities.values() if entity is not None]
    return {"entities": whole, "relations": relations}


def _relation(
    match: re.Match[str], entities: Mapping[str, Item | None], number: int
) -> Item | None:
    """Return a relation, or None if its head or tail has several pieces.

    Its first argument is the head, unless the names of both say that it is the second one.

    Raises:
        MalformedLine: An argument is no entity of the document.
    """
    names = ["head", "tail"]
    if match["one"] == "Arg2" and match["two"] == "Arg1":
        names.reverse()
    arguments = {}
    for name, key in zip(names, ("a", "b"), strict=True):
        if match[key] not in entities:
            raise MalformedLine("an entity that is there", match[key], number)
        arguments[name] = entities[match[key]]
    if None in arguments.values():
        return None
    return {**arguments, "label": match["label"]}


def _entity(match: re.Match[str], text: str, number: int) -> Item | None:
    """Return an entity, or None if it has several pieces.

    Raises:
        MalformedLine: The text at the offsets is another one than the line gives.
    """
    pieces = match["spans"].split(";")
    if len(pieces) > 1:
        return None
    offsets = pieces[0].split(" ")
    if max(map(len, offsets)) > _MAX_DIGITS:
        raise MalformedLine("offsets within the text", match["spans"], number)
    start, end = map(int, offsets)
    covered = text[start:end]
    if covered.split() != match["text"].split():
        expected = f"the text {safe_repr(match['text'])} at characters {start} to {end}"
        raise MalformedLine(expected, safe_repr(covered), number)
    return {"start": start, "end": end, "type": match["type"]}


def _file_name(name: str, taken: set[str], notes: Notes) -> str:
    """Return a file name for an id, which no earlier document has."""
    safe = _NAME.sub("_", name).lstrip(".")[:_MAX_NAME] or "_"
    unique = safe
    copy = 1
    while unique.casefold() in taken:
        copy += 1
        unique = f"{safe}_{copy}"
    taken.add(unique.casefold())
    if unique != name:
        notes.remarks["ids that are no file names, or repeated, which are changed"] += 1
    return unique


def _write_document(stem: Path, record: Record) -> None:
    """Write the text and the annotations of a record, whose spans count characters."""
    text = str(record["text"])
    lines: list[str] = []
    numbers: dict[tuple[int, int, str], int] = {}
    for item in list_objects(record, "entities"):
        _number(item, text, numbers, lines)
    relations: list[str] = []
    for item in list_objects(record, "relations"):
        head = _number(item["head"], text, numbers, lines)
        tail = _number(item["tail"], text, numbers, lines)
        label = _type_name(item["label"])
        relations.append(f"R{len(relations) + 1}\t{label} Arg1:T{head} Arg2:T{tail}\n")
    for suffix, content in ((".txt", text), (".ann", "".join(lines + relations))):
        file = stem.with_name(f"{stem.name}{suffix}")
        file.write_bytes(content.encode(errors="replace"))


def _number(
    item: Item, text: str, numbers: dict[tuple[int, int, str], int], lines: list[str]
) -> int:
    """Return the number of a span, which gets a line if it has none yet.

    An argument without a type is the entity at the same place, if there is one.
    """
    start, end, kind = item["start"], item["end"], item.get("type")
    for (other_start, other_end, other_kind), number in numbers.items():
        if (start, end) == (other_start, other_end) and kind in (None, other_kind):
            return number
    number = len(numbers) + 1
    numbers[start, end, kind or ""] = number
    covered = re.sub(r"[\r\n\t]", " ", text[start:end])
    lines.append(f"T{number}\t{_type_name(kind or 'Entity')} {start} {end}\t{covered}\n")
    return number


def _type_name(name: str) -> str:
    """Return a type or label as brat allows it: without blanks."""
    return re.sub(r"\s", "_", name)
