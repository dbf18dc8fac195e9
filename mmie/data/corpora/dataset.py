"""Posts in Parquet, Arrow or other data sets of the library ``datasets``."""

import importlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmie.data.corpora.base import CorpusError
from mmie.data.corpora.rows import RowCorpus, find_splits
from mmie.data.parsing import expand_user
from mmie.types import Split
from mmie.utils.optional import require
from mmie.utils.text import first_line

_FORMATS = {".parquet": "parquet", ".arrow": "arrow"}
"""Builders of ``datasets`` by the suffix of a file."""
_SAVED = ("dataset_dict.json", "state.json")
"""Files that ``save_to_disk`` writes into a folder of several splits, or of one."""


class DatasetCorpus(RowCorpus):
    """Posts in a data set of the library ``datasets``, with the columns of `RowCorpus`.

    Names of class labels and the feature ``Image`` are read from the data set itself. Local files
    are read row by row and not copied into the library's cache.

    Args:
        root: A folder or a file of Parquet or Arrow, a folder of ``datasets.save_to_disk``, or the
            name of a data set on the hub. Splits of files are told by their names, as the library
            tells them: ``train-00000-of-00002.parquet``, ``validation/0.arrow``.
        subset: Configuration of a data set on the hub.
        revision: Branch, tag or commit there.
        splits: Splits of the data set by ``train``, ``valid`` and ``test``, where the names do not
            tell: ``{valid: dev_2}``.
        pictures: Folder that paths of pictures are relative to and must not lead out of; by default
            that of the data set.
        columns: Columns by the part of a post, for columns of other names; null in place of a name
            leaves the part out.
        tag_names: Tags in the order of their ids, for a column of ids without names.
        strict: Whether a malformed row is an error. Otherwise it is skipped.
        max_missing: Largest share of the pictures that may be missing or unreadable.
        entity_types: Entity types in the order of their tag ids; None takes those of the training
            split, sorted.
        relation_labels: Relation labels in the order of their ids; None takes those of the training
            split, sorted.
        follow_links: Whether links may lead to pictures outside the folder, as in the caches of the
            hub, DVC and git-annex. Only for data of one's own: a link can show any file.

    Raises:
        CorpusError: The data set is missing, cannot be read, or has no split.
        MissingPackageError: ``datasets`` is not installed.
    """

    def __init__(
        self,
        root: str | Path,
        subset: str | None = None,
        revision: str | None = None,
        splits: dict[str, str] | None = None,
        pictures: str | Path | None = None,
        columns: dict[str, str | None] | None = None,
        tag_names: list[str] | None = None,
        strict: bool = True,
        max_missing: float = 0.05,
        entity_types: list[str] | None = None,
        relation_labels: list[str] | None = None,
        follow_links: bool = False,
    ) -> None:
        source = expand_user(root)
        folder = source.parent if source.is_file() else source
        super().__init__(
            folder if pictures is None else pictures,
            columns,
            tag_names,
            strict,
            max_missing,
            entity_types,
            relation_labels,
            follow_links,
        )
        self._source = source
        self._tables = _load(source, str(root), subset, revision)
        self._names = find_splits(self._tables, splits, str(source))

    @property
    def name(self) -> str:
        """Name of the folder, of the file without its suffix, or of the data set on the hub."""
        return self._source.stem if self._source.is_file() else self._source.resolve().name

    @property
    def splits(self) -> tuple[Split, ...]:
        """Splits of the data set."""
        return tuple(self._names)

    def place(self, split: Split) -> str:
        """Return the data set and its name of the split.

        Raises:
            CorpusError: The data set does not have the split.
        """
        if split not in self._names:
            raise CorpusError(
                f"{self._source}: expected the {split} split, "
                f"found {', '.join(map(repr, self._tables))}"
            )
        return f"{self._source}, {self._names[split]}"

    def _column_names(self, split: Split) -> Sequence[str]:
        return list(self._table(split).features)

    def _rows(self, split: Split, columns: Sequence[str]) -> Iterator[tuple[str, Sequence[Any]]]:
        table = self._table(split)
        features = table.features
        rows = iter(_undecoded(table).select_columns(list(columns)))
        number = 0
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except Exception as error:  # readers of Arrow raise almost anything on damaged files
                raise CorpusError(
                    f"{self.place(split)}, row {number}: cannot be read: {first_line(error)}"
                ) from error
            yield (
                str(number),
                [name_labels(row[column], features[column]) for column in columns],
            )
            number += 1

    def _table(self, split: Split) -> Any:
        """Return the table of a split."""
        return self._tables[self._names[split]]


def name_labels(value: Any, feature: Any) -> Any:
    """Replace the ids of class labels in a value, at any depth, by their names.

    Args:
        value: Value of a cell.
        feature: Its feature: of class labels, a list, a dictionary or anything else.
    """
    if value is None:
        return None
    if hasattr(feature, "int2str") and type(value) is int:
        return feature.int2str(value) if value >= 0 else None
    if isinstance(feature, Mapping) and isinstance(value, Mapping):
        return {key: name_labels(item, feature[key]) for key, item in value.items()}
    inner = feature[0] if isinstance(feature, list) else getattr(feature, "feature", None)
    if isinstance(value, list) and inner is not None:
        return [name_labels(item, inner) for item in value]
    if isinstance(value, Mapping) and isinstance(inner, Mapping):  # a list of objects, by columns
        return {
            key: [name_labels(item, inner[key]) for item in items] for key, items in value.items()
        }
    return value


def _load(source: Path, name: str, subset: str | None, revision: str | None) -> dict[str, Any]:
    """Open the splits of a data set without reading their rows.

    Args:
        source: The path.
        name: The name as it was given.
        subset: Configuration on the hub.
        revision: Branch, tag or commit on the hub.

    Raises:
        CorpusError: The data set is missing, or cannot be read.
        MissingPackageError: ``datasets`` is not installed.
    """
    datasets = require("datasets", "datasets")
    try:
        if not os.path.lexists(source):
            return dict(datasets.load_dataset(name, subset, revision=revision))
        if source.is_dir() and any((source / file).is_file() for file in _SAVED):
            saved = datasets.load_from_disk(str(source))
            return dict(saved) if isinstance(saved, dict) else {"train": saved}
        builder, files = _find_files(source)
        return dict(datasets.load_dataset(builder, streaming=True, data_files=files))
    except CorpusError:
        raise
    except Exception as error:  # the library raises almost anything on damaged files
        raise CorpusError(
            f"{name}: expected a folder or file of Parquet or Arrow, a folder of save_to_disk, or "
            f"a data set on the hub, found none that can be read: {first_line(error)}"
        ) from error


def _find_files(source: Path) -> tuple[str, dict[str, list[str]]]:
    """Return the builder of local files, and the files of each split.

    Pictures and other files beside them are left out.

    Raises:
        CorpusError: No file is of a known kind.
    """
    for suffix, builder in _FORMATS.items():
        files = [source] if source.is_file() else sorted(source.rglob(f"*{suffix}"))
        files = [file for file in files if file.suffix == suffix]
        if files:
            return builder, _split_files(files, source)
    raise CorpusError(f"{source}: expected files named .parquet or .arrow, found none")


def _split_files(files: Sequence[Path], source: Path) -> dict[str, list[str]]:
    """Return files by the split that their names, or those of their folders, tell.

    Args:
        files: The files.
        source: The file itself, or the folder in which they lie.

    Returns:
        Paths by split; all of them as ``train`` if no name tells a split.
    """
    keywords = importlib.import_module("datasets.data_files").SPLIT_KEYWORDS
    by_split: dict[str, list[str]] = {}
    for file in files:
        place = file.name if file == source else str(file.relative_to(source))
        words = set(re.split(r"[^a-z]+", place.lower()))
        for split, names in keywords.items():
            if words.intersection(names):
                by_split.setdefault(str(split), []).append(str(file))
                break
    return by_split or {"train": [str(file) for file in files]}


def _undecoded(table: Any) -> Any:
    """Return a table whose pictures are bytes or paths, which this package decodes itself."""
    image = require("datasets", "datasets").Image
    for column, feature in table.features.items():
        if isinstance(feature, image):
            table = table.cast_column(column, image(decode=False))
        elif isinstance(getattr(feature, "feature", None), image):
            table = table.cast_column(column, type(feature)(image(decode=False)))
    return table
