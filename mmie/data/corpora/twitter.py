"""Twitter-2015 and Twitter-2017: tweets with pictures and four entity types, read as published.

Sources: Zhang et al., "Adaptive Co-attention Network for Named Entity Recognition in Tweets", AAAI
2018 (Twitter-2015); Lu et al., "Visual Attention Model for Name Tagging in Multimodal Social
Media", ACL 2018 (Twitter-2017), in the splits of Yu et al., "Improving Multimodal Named Entity
Recognition via Entity Span Detection with Unified Multimodal Transformer", ACL 2020. Crops and
their index: Chen et al., "Good Visual Guidance Makes A Better Extractor", Findings of NAACL 2022.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from mmie.data.corpora.base import FileCorpus
from mmie.data.corpora.crop_index import load_crop_index
from mmie.data.parsing import MalformedLine, existing_or_first, picture_path
from mmie.tags import tags_to_entities
from mmie.types import SPLITS, Post, Split, Task

_ID_PREFIX = "IMGID:"
_TAG = re.compile(r"O|[BI]-(PER|LOC|ORG|MISC|OTHER)")
_TEXT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "valid": ("valid", "val", "dev"),
    "test": ("test",),
}
"""Names of the splits' texts, which differ between distributions, the published one first."""
_PICTURE_SPLITS: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "valid": ("val", "valid", "dev"),
    "test": ("test",),
}
"""Names of the splits in crop folders and crop indices, the published one first."""


class _TwitterCorpus(FileCorpus):
    """Layout of both corpora.

    ``{train,valid,test}.txt`` (or ``val.txt``, ``dev.txt``) hold posts: a line ``IMGID:<id>``, then
    ``word<TAB>tag`` lines, then a blank line. ``OTHER`` is ``MISC``. In the root, or beside it as
    the public archives unpack, lie ``<name>_images/<id>.jpg``, the crops in
    ``<name>_aux_images/<split>/crops/`` and their index ``<name>_{train,val,test}_dict.pth``. Where
    malformed lines are skipped, the whole post is skipped: without one of its words it would be
    another post.
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
        """Count the ``B-`` tags of a split by type, as the papers' tables do.

        An ``I-`` tag without a ``B-`` tag is an entity, too, but the tables do not count it.
        """
        self.posts(split)
        return dict(self._opening_tags[split])

    @cached_property
    def _opening_tags(self) -> dict[Split, Counter[str]]:
        """``B-`` tags by split and type, counted while reading."""
        return {split: Counter() for split in SPLITS}

    @cached_property
    def picture_folder(self) -> Path:
        """Folder of the pictures."""
        name = f"{self.name}_images"
        return existing_or_first([self.root / name, self.root.absolute().parent / name])

    @cached_property
    def _crop_folders(self) -> dict[Split, Path]:
        """Folders of the crops by split."""
        folders: dict[Split, Path] = {}
        for split in SPLITS:
            candidates = self._around_root(self.name + "_aux_images/{}/crops", split)
            folders[split] = existing_or_first(candidates)
        return folders

    @cached_property
    def _crop_indices(self) -> dict[Split, dict[str, list[str]]]:
        """Crop files by split and image file."""
        indices: dict[Split, dict[str, list[str]]] = {}
        for split in SPLITS:
            candidates = self._around_root(self.name + "_{}_dict.pth", split)
            indices[split] = load_crop_index(candidates)
        return indices

    def _around_root(self, pattern: str, split: Split) -> list[Path]:
        """Return the paths that a file or folder may have, in the root and beside it.

        Args:
            pattern: Relative path with ``{}`` in place of the split's name.
            split: The split.
        """
        folders = (self.root, self.root.absolute().parent)
        names = [pattern.format(name) for name in _PICTURE_SPLITS[split]]
        return [folder / name for folder in folders for name in names]

    def _text_files(self, split: Split) -> Sequence[Path]:
        return [self.root / f"{name}.txt" for name in _TEXT_NAMES[split]]

    def _records(self, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
        """Yield the lines from one ``IMGID:`` to the next, without the blank ones at their end."""
        first_number = 1
        record: list[str] = []
        for number, line in enumerate([*lines, _ID_PREFIX], start=1):
            if record and line.startswith(_ID_PREFIX):
                yield first_number, _without_blank_end(record)
                record = []
            if not record:
                first_number = number
            if record or not _is_blank(line):
                record.append(line)

    def _to_post(self, split: Split, number: int, lines: list[str]) -> Post:
        name = lines[0].removeprefix(_ID_PREFIX).strip()
        if not lines[0].startswith(_ID_PREFIX) or not name:
            raise MalformedLine(
                f"a line {_ID_PREFIX}<id> before the words of a post", repr(lines[0])
            )
        words, tags = _words_and_tags(lines[1:], number + 1)
        image_file = f"{name}.jpg"
        crop_files = self._crop_indices[split].get(image_file, [])
        crops = [picture_path(self._crop_folders[split], file) for file in crop_files]
        image = picture_path(self.picture_folder, image_file)
        entities = tuple(tags_to_entities(tags))
        self._opening_tags[split].update(tag[2:] for tag in tags if tag.startswith("B-"))
        return Post(name, words, image, tuple(crops), entities=entities)


class Twitter2015(_TwitterCorpus):
    """Twitter-2015: 4000, 1000 and 3257 tweets.

    Two editions are in circulation, with the original labels and with labels edited by HVPNet's
    authors. Scores on one cannot be compared with scores on the other.
    `mmie.data.corpora.checks.check_corpus` names the edition of the files.
    """


class Twitter2017(_TwitterCorpus):
    """Twitter-2017: 3373, 723 and 723 tweets."""


def _words_and_tags(lines: Sequence[str], first: int) -> tuple[tuple[str, ...], list[str]]:
    """Parse ``word<TAB>tag`` lines.

    Args:
        lines: The lines.
        first: Number of the first one.

    Raises:
        MalformedLine: A line is blank or malformed, or there is no line.
    """
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate(lines, start=first):
        if _is_blank(line):
            raise MalformedLine(
                f"a line {_ID_PREFIX}<id> after a blank line", "more words of the same post", number
            )
        word, _, tag = line.partition("\t")
        if "\t" in tag:
            columns = line.count("\t") + 1
            raise MalformedLine(
                "two columns, word<TAB>tag (convert a corpus with finer types or further labels, "
                "such as FMNERG, to JSON lines)",
                f"{columns}, {line!r}",
                number,
            )
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
    """Tell whether a line holds nothing but plain spaces."""
    return not line.strip(" ")


def _without_blank_end(lines: list[str]) -> list[str]:
    """Return the lines up to the last one that is not blank."""
    end = len(lines)
    while _is_blank(lines[end - 1]):
        end -= 1
    return lines[:end]
