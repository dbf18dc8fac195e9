"""Pictures of posts: found beside a file, and moved to where another file finds them.

`JsonlCorpus` reads no picture outside of its folder. So a picture that lies elsewhere gets a hard
link, or a copy, in ``images/`` beside the written file.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from mmie.data.parsing import MalformedLine, Record, lies_inside, list_value, picture_path
from mmie.data.picture_formats import picture_suffixes
from mmie.formats.base import Notes
from mmie.formats.records import without_keys
from mmie.utils.files import digest_file
from mmie.utils.text import safe_repr

PicturePolicy = Literal["link", "copy", "leave"]
"""What happens to pictures that lie outside of the folder of the written file."""
IMAGES = "images"
"""Folder of linked or copied pictures beside the written file."""
PICTURES = ("image", "images", "crops")
"""Keys of pictures in a record."""
_WEB = ("http://", "https://", "s3://", "gs://")
_BARRED = re.compile(r"\0|(?:^|/)\.\.(?:/|$)")
"""Parts that no name of a picture may have: null characters and ``..``."""


class PictureFinder:
    """Pictures by name in a folder.

    Args:
        folder: The folder.
        search: Whether to look in ``images/``, ``<any>_images/`` and in those beside the folder,
            too.
    """

    def __init__(self, folder: Path, search: bool) -> None:
        self._folders = [folder]
        if search:
            for parent in (folder, folder.absolute().parent):
                self._folders += sorted(parent.glob("*_images"))
            self._folders.insert(1, folder / IMAGES)
        self._folders = [path for path in self._folders if path.is_dir()]

    def find(self, name: str) -> Path | None:
        """Return the file of a picture by its name with or without suffix, or None."""
        return next(self._files(name, ("", *picture_suffixes())), None)

    def find_all(self, name: str) -> list[Path]:
        """Return the pictures of a name without suffix, in the order of `picture_suffixes`."""
        return list(self._files(name, picture_suffixes()))

    def _files(self, name: str, suffixes: Iterable[str]) -> Iterator[Path]:
        """Yield the files whose names are a name and one of some suffixes."""
        for folder in self._folders:
            for suffix in suffixes:
                path = folder / f"{name}{suffix}"
                if not _BARRED.search(name) and lies_inside(path, folder) and os.path.isfile(path):
                    yield path

    def resolve(self, record: Record) -> Record:
        """Return a record in which names of pictures are files, where there are such files.

        Args:
            record: A record with pictures in ``image`` or ``images``, each a name or a list.
        """
        names: list[object] = []
        for key in ("image", "images"):
            value = record.get(key)
            names += value if isinstance(value, list) else [value]
        files: list[object] = []
        for name in names:
            if isinstance(name, str | int) and not isinstance(name, bool):
                files.append(self.find(str(name)) or str(name))
            elif name is not None:
                files.append(name)
        return {**record, **image_keys(files)} if files else record


class PictureMover:
    """Paths of pictures as another file finds them.

    Args:
        source: Folder that paths of read records are relative to. A path that leads out of it is
            refused.
        target: Folder of the written file.
        policy: What happens to pictures that lie outside of ``target``.
    """

    def __init__(self, source: Path, target: Path, policy: PicturePolicy) -> None:
        self._source = source
        self._target = target
        self._policy = policy
        self._moved: dict[Path, str] = {}

    def move(self, record: Record, notes: Notes) -> Record:
        """Return a record whose pictures are relative to the folder of the written file.

        Args:
            record: A record with ``image``, ``images`` and ``crops`` as a reader yields them.
            notes: Receives the number of pictures that are missing or left out.

        Raises:
            MalformedLine: A path is none, or leads out of the folder that is read.
            OSError: A picture cannot be linked or copied.
        """
        moved = without_keys(record, *PICTURES)
        images = [self._move(name, notes) for name in picture_names(record)]
        kept = dict.fromkeys(path for path in images if path is not None)
        moved |= {key: value for key, value in image_keys(list(kept)).items() if value is not None}
        crops = [self._move(crop, notes) for crop in _paths(record, "crops")]
        if crops:
            moved["crops"] = [path for path in crops if path is not None]
        return moved

    def _move(self, value: object, notes: Notes) -> str | None:
        """Return the new path of a picture, or None if it is left out."""
        if isinstance(value, str) and value.startswith(_WEB):
            notes.unused["pictures at an address of the web"] += 1
            return None
        path = value if isinstance(value, Path) else picture_path(self._source, value)
        is_there = os.path.isfile(path)  # false for a name that is too long, too
        if is_there and not lies_inside(path, self._target):
            return self._place(path, notes)
        relative = Path(os.path.relpath(path, self._target))
        if ".." in relative.parts:
            notes.unused["pictures that are not there"] += 1
            return None
        if not is_there:
            notes.remarks["pictures that are named and not there"] += 1
        return relative.as_posix()

    def _place(self, path: Path, notes: Notes) -> str | None:
        """Link or copy a picture, and return its new path."""
        if self._policy == "leave":
            notes.unused["pictures outside of the written file's folder"] += 1
            return None
        if path not in self._moved:
            folder = self._target / IMAGES
            file = _free_name(path, folder)
            if not file.exists():
                folder.mkdir(parents=True, exist_ok=True)
                _link_or_copy(path, file, self._policy)
            self._moved[path] = f"{IMAGES}/{file.name}"
        notes.remarks[f"pictures linked or copied to {IMAGES}/"] += 1
        return self._moved[path]


def picture_names(record: Record) -> list[object]:
    """Return the pictures of a record as they are named: ``image``, then ``images``, each once.

    Raises:
        MalformedLine: ``images`` is no list of paths.
    """
    image = record.get("image")
    names: list[object] = [] if image is None or image == "" else [image]
    for name in _paths(record, "images"):
        if name not in names:
            names.append(name)
    return names


def image_keys(images: Sequence[object]) -> Record:
    """Return the keys that hold the pictures of a record. The key of the other form is None.

    >>> image_keys(["a.jpg"]), image_keys(["a.jpg", "b.jpg"])
    ({'image': 'a.jpg', 'images': None}, {'image': None, 'images': ['a.jpg', 'b.jpg']})
    """
    is_one = len(images) == 1
    return {"image": images[0] if is_one else None, "images": list(images) if images[1:] else None}


def _paths(record: Record, key: str) -> Sequence[object]:
    """Return the paths of a list of a record.

    Raises:
        MalformedLine: The value is no list of paths.
    """
    paths = list_value(record, key, object, "paths")
    if not all(isinstance(path, str | Path) for path in paths):
        raise MalformedLine(f"{key!r} to be a list of paths", safe_repr(paths))
    return paths


def _free_name(path: Path, folder: Path) -> Path:
    """Return the file of a picture in a folder: its own name, or one with its digest in front."""
    file = folder / path.name
    if file.exists() and not (file.samefile(path) or digest_file(file) == digest_file(path)):
        return folder / f"{digest_file(path)[:16]}_{path.name}"
    return file


def _link_or_copy(path: Path, file: Path, policy: PicturePolicy) -> None:
    """Make a hard link to a picture, or copy it if asked to or on another disk."""
    if policy == "link":
        try:
            os.link(path.resolve(), file)
            return
        except (OSError, NotImplementedError):  # another disk, or no links
            pass
    shutil.copyfile(path, file)
