"""MNRE: tweets with pictures and one relation between two entities each, read as published.

Sources: Zheng et al., "MNRE: A Challenge Multimodal Dataset for Neural Relation Extraction with Visual Evidence in
Social Media Posts", ICME 2021 (version 1), and "Multimodal Relation Extraction with Efficient Graph Alignment", ACM
Multimedia 2021 (version 2). Crops and their index: Chen et al., "Good Visual Guidance Makes A Better Extractor",
Findings of NAACL 2022.
"""

import ast
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from mmie.data.corpora.base import (
    Corpus,
    CorpusError,
    MalformedLine,
    check_name,
    check_span,
    check_words,
    first_existing,
    load_crop_index,
    picture_path,
    shown,
)
from mmie.types import NO_RELATION, Entity, Post, Relation, Split, Task

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
"""The relations of version 2, spelt as its training split spells them."""

_SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "valid": ("val", "dev", "valid"),
    "test": ("test",),
}
"""Names of the splits in files and folders; distributions differ, and differ within themselves."""


class MNRE(Corpus):
    """A Python dictionary per line: ``token``, ``h``, ``t`` (``name``, ``pos`` [start, end)), ``img_id``, ``relation``.

    Texts (``mnre_*.txt`` or ``ours_*.txt``), ``ours_rel2id.json`` and the index of the crops,
    ``mre_{train,dev,test}_dict.pth``, may lie in the root or in ``txt/``; pictures lie in
    ``img_org/{train,val,test}/``, crops in ``img_vg/<split>/crops/``. A post's id is the 0-based number of its line,
    the key of the index. Head and tail may overlap: in version 2 they do in 67 posts.
    """

    @property
    def tasks(self) -> tuple[Task, ...]:
        """RE."""
        return ("re",)

    @cached_property
    def _labels(self) -> tuple[str, ...]:
        file = first_existing(self._in_root_or_txt(["ours_rel2id.json"]))
        return _read_labels(file) if file.exists() else VERSION_2_LABELS

    @property
    def relation_labels(self) -> tuple[str, ...]:
        """Labels of ``ours_rel2id.json``, else the 23 of version 2; then, sorted, what else the training split holds.

        Raises:
            CorpusError: The label file is not a dictionary of ids.
        """
        used = {relation.label for post in self._training_posts() for relation in post.relations}
        return self._labels + tuple(sorted(used.difference(self._labels)))

    @cached_property
    def _crop_indices(self) -> dict[Split, dict[str, list[str]]]:
        """Crop files by line number."""
        return {
            split: load_crop_index(self._in_root_or_txt([f"mre_{name}_dict.pth" for name in names]))
            for split, names in _SPLIT_NAMES.items()
        }

    @cached_property
    def _folders(self) -> dict[Split, tuple[Path, Path]]:
        """Folders of the pictures and of the crops."""
        return {
            split: (
                first_existing([self.root / "img_org" / name for name in names]),
                first_existing([self.root / "img_vg" / name / "crops" for name in names]),
            )
            for split, names in _SPLIT_NAMES.items()
        }

    def _training_posts(self) -> list[Post]:
        return self.posts("train") if "train" in self.splits else []

    def _in_root_or_txt(self, names: Sequence[str]) -> list[Path]:
        return [folder / name for folder in (self.root, self.root / "txt") for name in names]

    def _text_files(self, split: Split) -> Sequence[Path]:
        return self._in_root_or_txt(
            [f"{start}_{name}.txt" for start in ("mnre", "ours") for name in _SPLIT_NAMES[split]]
        )

    def _to_post(self, split: Split, number: int, lines: list[str]) -> Post:
        record = _parse(lines[0])
        words = check_words(record["token"])
        label = check_name(record["relation"], "a relation label")
        images, crops = self._folders[split]
        key = str(number - 1)
        return Post(
            id=key,
            words=words,
            image=picture_path(images, record["img_id"]),
            crops=tuple(
                picture_path(crops, crop) for crop in self._crop_indices[split].get(key, [])
            ),
            relations=(
                Relation(
                    _argument(record, "h", len(words)), _argument(record, "t", len(words)), label
                ),
            ),
        )


def _parse(line: str) -> dict[str, object]:
    """The dictionary that a line spells; nothing in it is evaluated."""
    try:
        record = ast.literal_eval(line.strip())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError, OverflowError):
        raise MalformedLine("a Python dictionary", repr(line)) from None
    keys = ("token", "h", "t", "img_id", "relation")
    if not isinstance(record, dict) or any(key not in record for key in keys):
        raise MalformedLine(f"a Python dictionary with {', '.join(keys)}", repr(line))
    return record


def _argument(record: dict[str, object], key: str, length: int) -> Entity:
    """Head (``h``) or tail (``t``) of the relation."""
    argument = record[key]
    position = argument.get("pos") if isinstance(argument, dict) else None
    if not isinstance(position, list | tuple) or len(position) != 2:
        raise MalformedLine(f"{key!r} with 'pos': [start, end]", shown(argument))
    start, end = check_span(position[0], position[1], length, f"'pos' of {key!r}")
    return Entity(start, end)


def _read_labels(file: Path) -> tuple[str, ...]:
    """The labels of ``ours_rel2id.json`` in the order of their ids, ``None`` moved to the front."""
    try:
        ids = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CorpusError(
            f"{file}: expected a JSON dictionary of label ids, found {error.strerror}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise CorpusError(
            f"{file}: expected a JSON dictionary of label ids, found what is no JSON ({error})"
        ) from None
    if not isinstance(ids, dict) or not all(type(value) is int for value in ids.values()):
        raise CorpusError(f"{file}: expected a JSON dictionary of label ids, found other values")
    return (
        NO_RELATION,
        *(label for label in sorted(ids, key=lambda label: ids[label]) if label != NO_RELATION),
    )
