"""Folders of posts: texts and pictures of the same names."""

import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unicodedata import normalize

from mmie.data.parsing import MalformedLine, picture_path
from mmie.data.picture_formats import picture_suffixes
from mmie.data.post_json import parse_post
from mmie.data.sources.items import BadPost, SourceError, list_names
from mmie.data.text_files import decode_text, undecodable
from mmie.types import Post

_TEXT_SUFFIX = ".txt"


@dataclass(slots=True)
class FolderFiles:
    """Files of a folder of posts.

    Attributes:
        texts: Names of text files by the name of the post.
        pictures: Names of pictures by the name of the post.
        aside: Names of the other files, and of further files of a post.
    """

    texts: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, str] = field(default_factory=dict)
    aside: list[str] = field(default_factory=list)

    @property
    def stems(self) -> list[str]:
        """Names of the posts, sorted."""
        return sorted(self.texts.keys() | self.pictures.keys())


def list_folder(folder: Path) -> FolderFiles:
    """List the files of a folder of posts.

    Of several pictures of a post the first in the order of `picture_suffixes` is taken. A text may
    be named after its post or after its picture (``7.txt`` or ``7.jpg.txt``). Names are compared in
    the Unicode form NFC. Hidden files are left aside.

    Raises:
        OSError: The folder cannot be read.
    """
    ranks = {suffix: rank for rank, suffix in enumerate((_TEXT_SUFFIX, *picture_suffixes()))}
    files = FolderFiles()
    entries = [Path(name) for name in sorted(os.listdir(folder))]
    entries.sort(key=lambda name: ranks.get(name.suffix.lower(), len(ranks)))
    for name in entries:
        suffix = name.suffix.lower()
        names = files.texts if suffix == _TEXT_SUFFIX else files.pictures
        is_hidden = name.name.startswith(".")
        stem = normalize("NFC", name.stem)
        if is_hidden or suffix not in ranks or names.setdefault(stem, name.name) != name.name:
            files.aside.append(name.name)
    for stem, picture in files.pictures.items():
        text = files.texts.get(normalize("NFC", picture))
        if text is not None and stem not in files.texts:
            files.texts[stem] = files.texts.pop(normalize("NFC", picture))
    return files


def read_folder(folder: Path) -> Iterator[Post | BadPost]:
    """Return an iterator over the posts of a folder in the order of their names.

    There is one for every text file, with its picture, and for every picture without a text.

    Raises:
        SourceError: The folder holds no post.
    """
    files = list_folder(folder)
    if not files.stems:
        found = list_names(files.aside) or "an empty folder"
        raise SourceError(
            f"{folder}: expected <id>.txt or pictures, found {found}: name a file of posts"
        )
    if files.aside:
        warnings.warn(
            f"{folder}: {len(files.aside)} files left aside: {list_names(files.aside)}",
            stacklevel=3,
        )
    return _read_posts(folder, files)


def _read_posts(folder: Path, files: FolderFiles) -> Iterator[Post | BadPost]:
    """Yield the posts of a folder."""
    for stem in files.stems:
        text, picture = files.texts.get(stem), files.pictures.get(stem)
        place = text or str(picture)
        try:
            record = {"text": _read_text(folder, text), "image": picture}
            yield parse_post(json.dumps(record), folder, name=stem)
        except MalformedLine as error:
            yield BadPost.of(place, error, stem)
        except OSError as error:
            yield BadPost(place, str(error), "file", stem)


def _read_text(folder: Path, name: str | None) -> str:
    """Read a text file of the folder, or return "" without one.

    Raises:
        MalformedLine: The path is not a file, is a link that leads out of the folder, or the file
            is not Unicode.
        OSError: The file cannot be read.
    """
    if name is None:
        return ""
    file = picture_path(folder, name)
    if not file.is_file():
        raise MalformedLine("a file", "a folder, a pipe or a link to nothing", kind="file")
    text = decode_text(file.read_bytes()).strip()
    bad = undecodable(text)
    if bad is not None:
        raise MalformedLine("UTF-8 text", bad, kind="encoding")
    return text
