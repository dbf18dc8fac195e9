"""Twitter-2015 and Twitter-2017: tweets with pictures and four types of entities, read as published.

Sources: Zhang et al., "Adaptive Co-attention Network for Named Entity Recognition in Tweets", AAAI 2018 (Twitter-2015);
Lu et al., "Visual Attention Model for Name Tagging in Multimodal Social Media", ACL 2018 (Twitter-2017), in the splits
of Yu et al., "Improving Multimodal Named Entity Recognition via Entity Span Detection with Unified Multimodal
Transformer", ACL 2020. Crops and their index: Chen et al., "Good Visual Guidance Makes A Better Extractor", Findings of
NAACL 2022.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from mmie.data.corpora.base import (
    Corpus,
    MalformedLine,
    first_existing,
    load_crop_index,
    picture_path,
)
from mmie.tags import tags_to_entities
from mmie.types import Post, Split, Task

_ID_PREFIX = "IMGID:"
_TAG = re.compile(r"O|[BI]-(PER|LOC|ORG|MISC|OTHER)")
_PICTURE_SPLITS: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "valid": ("val", "valid", "dev"),
    "test": ("test",),
}
"""Names of the splits in crop folders and crop indices, the published one first."""


class _TwitterCorpus(Corpus):
    """The layout that both corpora share.

    ``{train,valid,test}.txt`` hold posts: a line ``IMGID:<id>``, then ``word<TAB>tag`` lines, then a blank line. In the
    root, or beside it as the public archives unpack, lie ``<name>_images/<id>.jpg``, the crops in
    ``<name>_aux_images/<split>/crops/`` and their index ``<name>_{train,val,test}_dict.pth``. ``OTHER`` is ``MISC``.
    Where malformed lines are skipped, the whole post goes: without one of its words it would be another post.
    """

    @property
    def tasks(self) -> tuple[Task, ...]:
        """NER."""
        return ("ner",)

    @property
    def entity_types(self) -> tuple[str, ...]:
        """The four published types."""
        return ("PER", "LOC", "ORG", "MISC")

    def published_counts(self, split: Split) -> dict[str, int]:
        """``B-`` tags per type: the papers' tables count these, though an ``I-`` without a ``B-`` is an entity too."""
        self.posts(split)
        return dict(self._opening_tags[split])

    @cached_property
    def _opening_tags(self) -> dict[Split, Counter[str]]:
        """``B-`` tags per type, counted while reading."""
        return {split: Counter() for split in _PICTURE_SPLITS}

    @cached_property
    def _picture_folder(self) -> Path:
        return first_existing(self._around_root([f"{self.name}_images"]))

    @cached_property
    def _crop_folders(self) -> dict[Split, Path]:
        return {
            split: first_existing(
                self._around_root([f"{self.name}_aux_images/{name}/crops" for name in names])
            )
            for split, names in _PICTURE_SPLITS.items()
        }

    @cached_property
    def _crop_indices(self) -> dict[Split, dict[str, list[str]]]:
        """Crop files by image file."""
        return {
            split: load_crop_index(
                self._around_root([f"{self.name}_{name}_dict.pth" for name in names])
            )
            for split, names in _PICTURE_SPLITS.items()
        }

    def _around_root(self, names: Sequence[str]) -> list[Path]:
        """Where a file or folder may lie: in the root or beside it."""
        return [
            folder / name for folder in (self.root, self.root.absolute().parent) for name in names
        ]

    def _text_files(self, split: Split) -> Sequence[Path]:
        return [self.root / f"{split}.txt"]

    def _records(self, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
        """Lines from one ``IMGID:`` to the next, without the blank ones at their end."""
        start, record = 1, list[str]()
        for number, line in enumerate([*lines, _ID_PREFIX], start=1):
            if record and line.startswith(_ID_PREFIX):
                yield start, _without_blank_end(record)
                record = []
            if not record:
                start = number
            if record or not _is_blank(line):
                record.append(line)

    def _to_post(self, split: Split, number: int, lines: list[str]) -> Post:
        name = lines[0].removeprefix(_ID_PREFIX).strip()
        if not lines[0].startswith(_ID_PREFIX) or not name:
            raise MalformedLine(
                f"a line {_ID_PREFIX}<id> before the words of a post", repr(lines[0])
            )
        words, tags = _words_and_tags(lines[1:], number + 1)
        file = f"{name}.jpg"
        crops = [
            picture_path(self._crop_folders[split], crop)
            for crop in self._crop_indices[split].get(file, [])
        ]
        post = Post(
            id=name,
            words=words,
            image=picture_path(self._picture_folder, file),
            crops=tuple(crops),
            entities=tuple(tags_to_entities(tags)),
        )
        self._opening_tags[split].update(tag[2:] for tag in tags if tag.startswith("B-"))
        return post


class Twitter2015(_TwitterCorpus):
    """Twitter-2015: 4000, 1000 and 3257 tweets.

    Two editions are in circulation, with the original labels and with labels edited by HVPNet's authors: scores on the
    one do not compare with scores on the other. `mmie.data.corpora.checks.check_corpus` says which one is there.
    """


class Twitter2017(_TwitterCorpus):
    """Twitter-2017: 3373, 723 and 723 tweets."""


def _words_and_tags(lines: Sequence[str], first: int) -> tuple[tuple[str, ...], list[str]]:
    """Words and tags of ``word<TAB>tag`` lines, the first of which has the number ``first``."""
    words, tags = [], []
    for number, line in enumerate(lines, start=first):
        if _is_blank(line):
            raise MalformedLine(
                f"a line {_ID_PREFIX}<id> after a blank line", "more words of the same post", number
            )
        word, _, tag = line.partition("\t")
        if not word or not _TAG.fullmatch(tag):
            raise MalformedLine(
                "word<TAB>tag with a tag such as O, B-PER or I-LOC", repr(line), number
            )
        words.append(word)
        tags.append(tag.replace("OTHER", "MISC"))
    if not words:
        raise MalformedLine(f"words after the line {_ID_PREFIX}<id>", "none")
    return tuple(words), tags


def _is_blank(line: str) -> bool:
    """Whether a line holds nothing but plain spaces."""
    return not line.strip(" ")


def _without_blank_end(lines: list[str]) -> list[str]:
    """The lines up to the last that is not blank."""
    end = len(lines)
    while _is_blank(lines[end - 1]):
        end -= 1
    return lines[:end]
