"""MNRE: tweets with pictures and one relation between two entities each, read as published.

Sources: Zheng et al., "MNRE: A Challenge Multimodal Dataset for Neural Relation Extraction with
Visual Evidence in Social Media Posts", ICME 2021 (version 1), and "Multimodal Relation Extraction
with Efficient Graph Alignment", ACM Multimedia 2021 (version 2). Crops and their index: Chen et
al., "Good Visual Guidance Makes A Better Extractor", Findings of NAACL 2022.
"""

import ast
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from mmie.data.corpora.base import CorpusError, FileCorpus, count_relation_labels
from mmie.data.corpora.crop_index import load_crop_index
from mmie.data.parsing import (
    MalformedLine,
    check_name,
    check_span,
    check_words,
    existing_or_first,
    picture_path,
)
from mmie.types import NO_RELATION, SPLITS, Entity, Post, Relation, Split, Task
from mmie.utils.text import safe_repr

VERSION_2_LABELS = (
    NO_RELATION,
    "/loc/loc/contain",
    "/misc/loc/held_on",
    "/misc/misc/part_of",
    "/org/loc/locate_at",
    "/org/org/alternate_names",
    "/org/org/subsidiary",
    "/per/loc/place_of_birth",
    "/per/loc/place_of_residence",
    "/per/misc/awarded",
    "/per/misc/nationality",
    "/per/misc/present_in",
    "/per/misc/race",
    "/per/misc/religion",
    "/per/org/member_of",
    "/per/per/alternate_names",
    "/per/per/alumi",
    "/per/per/charges",
    "/per/per/couple",
    "/per/per/neighbor",
    "/per/per/parent",
    "/per/per/peer",
    "/per/per/siblings",
)
"""Relations of version 2, in the spelling of its training split."""

_KEYS = ("token", "h", "t", "img_id", "relation")
_TEXT_FOLDERS = ("", "txt", "mnre_txt")
_TEXT_FILES = ("mnre_{}.txt", "ours_{}.txt", "{}.txt")
_LABEL_FILE = "ours_rel2id.json"
_SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "valid": ("val", "dev", "valid"),
    "test": ("test",),
}
"""Names of the splits in files and folders, which differ between and within distributions."""


class MNRE(FileCorpus):
    """MNRE: a Python dictionary per line with ``token``, ``h``, ``t``, ``img_id`` and ``relation``.

    ``h`` and ``t`` hold ``name`` and ``pos``, which is [start, end). Texts (``mnre_*.txt``,
    ``ours_*.txt`` or ``{train,dev,test}.txt``), ``ours_rel2id.json`` and the index of the crops,
    ``mre_{train,dev,test}_dict.pth``, may lie in the root, in ``txt/`` or in ``mnre_txt/``, as in
    the authors' repository. Both versions are read. Pictures lie in
    ``img_org/{train,val,test}/``, crops in ``img_vg/<split>/crops/``. A post's id is the 0-based
    number of its line, which is the key of the index. Head and tail may overlap: in version 2 they
    do in 67 posts.
    """

    @property
    def tasks(self) -> tuple[Task, ...]:
        """RE."""
        return ("re",)

    @property
    def relation_labels(self) -> tuple[str, ...]:
        """Labels of ``ours_rel2id.json``, or else of version 2, then others of the training split.

        Raises:
            CorpusError: The label file is not a dictionary of ids.
        """
        used = set(count_relation_labels(self._training_posts()))
        return self._listed_labels + tuple(sorted(used.difference(self._listed_labels)))

    @cached_property
    def _listed_labels(self) -> tuple[str, ...]:
        """Labels of ``ours_rel2id.json``, or else of version 2."""
        file = existing_or_first(self._in_text_folders([_LABEL_FILE]))
        return _read_labels(file) if file.exists() else VERSION_2_LABELS

    @cached_property
    def _crop_indices(self) -> dict[Split, dict[str, list[str]]]:
        """Crop files by split and line number."""
        indices: dict[Split, dict[str, list[str]]] = {}
        for split in SPLITS:
            names = _names_of_split("mre_{}_dict.pth", split)
            indices[split] = load_crop_index(self._in_text_folders(names))
        return indices

    @cached_property
    def _picture_folders(self) -> dict[Split, Path]:
        """Folders of the pictures by split, which may not exist."""
        folders: dict[Split, Path] = {}
        for split in SPLITS:
            candidates = [self.root / name for name in _names_of_split("img_org/{}", split)]
            folders[split] = existing_or_first(candidates)
        return folders

    @cached_property
    def _crop_folders(self) -> dict[Split, Path]:
        """Folders of the crops by split, which may not exist."""
        folders: dict[Split, Path] = {}
        for split in SPLITS:
            candidates = [self.root / name for name in _names_of_split("img_vg/{}/crops", split)]
            folders[split] = existing_or_first(candidates)
        return folders

    def _in_text_folders(self, names: Sequence[str]) -> list[Path]:
        """Return the paths of some names in the root, then those in the folders of texts."""
        return [self.root / folder / name for folder in _TEXT_FOLDERS for name in names]

    def _text_files(self, split: Split) -> Sequence[Path]:
        names: list[str] = []
        for pattern in _TEXT_FILES:
            names += _names_of_split(pattern, split)
        return self._in_text_folders(names)

    def _to_post(self, split: Split, number: int, lines: list[str]) -> Post:
        record = _parse(lines[0])
        words = check_words(record["token"])
        label = check_name(record["relation"], "a relation label")
        key = str(number - 1)
        image = picture_path(self._picture_folders[split], record["img_id"])
        crop_files = self._crop_indices[split].get(key, [])
        crops = [picture_path(self._crop_folders[split], file) for file in crop_files]
        head = _parse_argument(record, "h", len(words))
        tail = _parse_argument(record, "t", len(words))
        relations = (Relation(head, tail, label),)
        return Post(key, words, image, tuple(crops), relations=relations)


def _names_of_split(pattern: str, split: Split) -> list[str]:
    """Fill each name that a split has in copies of the corpus into the ``{}`` of a pattern."""
    return [pattern.format(name) for name in _SPLIT_NAMES[split]]


def _parse(line: str) -> dict[str, object]:
    """Parse the literal dictionary of a line without evaluating anything.

    Raises:
        MalformedLine: The line is not a dictionary with the keys of a post.
    """
    try:
        record = ast.literal_eval(line.strip())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError, OverflowError):
        raise MalformedLine("a Python dictionary", repr(line)) from None
    if not isinstance(record, dict) or any(key not in record for key in _KEYS):
        raise MalformedLine(f"a Python dictionary with {', '.join(_KEYS)}", repr(line))
    return record


def _parse_argument(record: dict[str, object], key: str, length: int) -> Entity:
    """Parse the head (``h``) or tail (``t``) of a relation.

    Args:
        record: Dictionary of the post.
        key: ``h`` or ``t``.
        length: Words of the post.

    Raises:
        MalformedLine: The argument has no ``pos`` within the words.
    """
    argument = record[key]
    position = argument.get("pos") if isinstance(argument, dict) else None
    if not isinstance(position, list | tuple) or len(position) != 2:
        raise MalformedLine(f"{key!r} with 'pos': [start, end]", safe_repr(argument))
    start, end = check_span(position[0], position[1], length, f"'pos' of {key!r}")
    return Entity(start, end)


def _read_labels(file: Path) -> tuple[str, ...]:
    """Read the labels of ``ours_rel2id.json`` in the order of their ids, with ``None`` in front.

    Raises:
        CorpusError: The file is not a dictionary of integers.
    """
    expected = f"{file}: expected a JSON dictionary of label ids, found"
    try:
        ids = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CorpusError(f"{expected} {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{expected} what is no JSON ({error})") from None
    if not isinstance(ids, dict) or not all(type(value) is int for value in ids.values()):
        raise CorpusError(f"{expected} other values")
    ids.pop(NO_RELATION, None)
    return (NO_RELATION, *sorted(ids, key=ids.__getitem__))
