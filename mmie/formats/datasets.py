"""Data sets of the library ``datasets``: a folder of ``save_to_disk``, of Parquet or of Arrow.

Columns are those of `mmie.data.corpora.rows`; names of tags are read from the features. A data set
of several splits needs ``--split``.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmie.data.parsing import Record
from mmie.data.post_json import post_to_json
from mmie.data.sources import BadPost
from mmie.formats.base import Format, FormatError, Notes, ReadOptions
from mmie.formats.pictures import image_keys
from mmie.types import SPLITS, MmieError, Split

if TYPE_CHECKING:
    from mmie.data.corpora.dataset import DatasetCorpus

_SAVED = ("dataset_dict.json", "state.json")
_FILES = (".parquet", ".arrow")


class SavedDataset(Format):
    """Data sets of the library ``datasets``."""

    name = "datasets"
    description = "folder that datasets.save_to_disk wrote, or one of Parquet or Arrow files"
    writes = False

    def recognises(self, path: Path, head: str) -> bool:
        """Tell whether a folder holds a saved data set, Parquet or Arrow."""
        if path.is_file():
            return path.suffix.lower() == ".arrow"
        if any((path / name).is_file() for name in _SAVED):
            return True
        return any(file.suffix in _FILES for file in path.rglob("*"))

    def read(self, path: Path, options: ReadOptions, notes: Notes) -> Iterator[Record | BadPost]:
        """Yield a record for each row that can be read, then a `BadPost` for each other one.

        Raises:
            FormatError: The data set cannot be read, or has several splits and none is named.
            MissingPackageError: ``datasets`` is not installed.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            corpus, split = _load(path, options)
        posts = corpus.posts(split)
        for message in {str(warning.message) for warning in caught}:
            if message.startswith(f"{corpus.place(split)}: columns ignored"):
                notes.unused[f"columns {message.rpartition(': ')[2]}"] += len(posts)
        name = corpus.place(split).rpartition(", ")[2]
        notes.found.append(f"split '{name}', one of {len(corpus.splits)}")
        for post in posts:
            record = post_to_json(replace(post, image=None, crops=(), more_images=()), path)
            pictures = {**image_keys(post.images), "crops": list(post.crops)}
            yield record | {key: value for key, value in pictures.items() if value}
        for message in corpus.skipped[split]:
            place, _, reason = message.partition(": ")
            yield BadPost(place, reason)


def _load(path: Path, options: ReadOptions) -> tuple["DatasetCorpus", Split]:
    """Load a data set, and choose the split to read.

    Raises:
        FormatError: The data set cannot be read, or has several splits and none is named.
        MissingPackageError: ``datasets`` is not installed.
    """
    from mmie.data.corpora.dataset import DatasetCorpus  # imports torch

    try:
        corpus = DatasetCorpus(
            path,
            pictures=options.pictures,
            columns=dict(options.columns),
            tag_names=list(options.tag_names) or None,
            strict=False,
        )
        split = _choose_split(path, corpus.splits, options.split)
        corpus.posts(split)  # is kept by the corpus
    except FormatError:
        raise
    except MmieError as error:
        raise FormatError(str(error)) from error
    return corpus, split


def _choose_split(path: Path, splits: Sequence[Split], name: str | None) -> Split:
    """Return the split to read.

    Raises:
        FormatError: The data set has several splits and none is named, or lacks the named one.
    """
    listed = ", ".join(splits)
    if name is None:
        if len(splits) > 1:
            raise FormatError(f"{path}: holds the splits {listed}: name one by --split")
        return splits[0]
    for split in SPLITS:
        if split == name and split in splits:
            return split
    raise FormatError(f"{path}: expected one of {listed} for --split, found {name}")
