"""JSON lines: the package's own layout, and the one for one's own posts.

``root/{train,valid,test}.jsonl`` hold one post a line, as `mmie.data.post_json` describes it; the
validation split may also be named ``validation``, ``val`` or ``dev``, and a file ``.json`` may hold
an array of posts. Paths of pictures are relative to the root. A card beside them, see
`mmie.data.corpora.card`, may hold a note that reports print.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mmie.data.corpora.base import FileCorpus
from mmie.data.corpora.card import read_note
from mmie.data.corpora.own import OwnCorpus
from mmie.data.parsing import MalformedLine
from mmie.data.post_json import parse_record, post_from_json, unknown_keys
from mmie.data.sources.json_texts import split_json
from mmie.data.words import MAX_CHARACTERS, MAX_WORDS, find_unsplit
from mmie.types import Post, Split

_SUFFIXES = (".jsonl", ".ndjson", ".json")


class JsonlCorpus(OwnCorpus, FileCorpus):
    """Posts in JSON lines.

    Args:
        root: Folder of ``{train,valid,test}.jsonl``. Its name is the corpus's.
        strict: Whether a malformed line is an error. Otherwise its post is skipped.
        max_missing: Largest share of the named pictures that may be missing or unreadable.
        entity_types: Entity types in the order of their tag ids; None takes those of the training
            split, sorted.
        relation_labels: Relation labels in the order of their ids; None takes those of the training
            split, sorted. ``None`` comes first whether given or not.
        follow_links: Whether links may lead to pictures outside the folder, as in the caches of the
            hub, DVC and git-annex. Only for data of one's own: a link can show any file.

    Raises:
        CorpusError: The folder does not exist or holds no split, or its card is malformed.
    """

    def __init__(
        self,
        root: str | Path,
        strict: bool = True,
        max_missing: float = 0.05,
        entity_types: list[str] | None = None,
        relation_labels: list[str] | None = None,
        follow_links: bool = False,
    ) -> None:
        self._ignored_keys: set[str] = set()
        super().__init__(root, strict, max_missing, entity_types, relation_labels, follow_links)
        self._note = read_note(self.root)

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.root.resolve().name

    @property
    def note(self) -> str:
        """Note of the card. Empty if there is none."""
        return self._note

    def posts(self, split: Split) -> list[Post]:
        """Return the posts of a split, which is read once.

        Reading warns of keys that are ignored, and of types and labels that the training split does
        not have.

        Raises:
            CorpusError: The split's file is missing, or a line is malformed and the corpus is
                ``strict``.
        """
        if split in self._posts:
            return self._posts[split]
        posts = super().posts(split)
        if self._ignored_keys:
            keys = ", ".join(sorted(map(repr, self._ignored_keys)))
            warnings.warn(f"{self.text_file(split)}: unknown keys ignored: {keys}", stacklevel=2)
            self._ignored_keys = set()
        return posts

    def _text_files(self, split: Split) -> Sequence[Path]:
        names = ("valid", "validation", "val", "dev") if split == "valid" else (split,)
        return [self.root / f"{name}{suffix}" for suffix in _SUFFIXES for name in names]

    def _records(self, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
        """Yield the number and the text of each JSON object."""
        for number, text in split_json(f"{line}\n" for line in lines):
            yield number, [text]

    def _to_post(self, split: Split, number: int, lines: list[str]) -> Post:
        record = parse_record(lines[0])
        self._ignored_keys |= unknown_keys(record)
        post = post_from_json(record, self.root)
        if find_unsplit(post.text or "", post.offsets) is not None:
            expected = f"a text of at most {MAX_CHARACTERS} characters and {MAX_WORDS} words"
            raise MalformedLine(expected, f"{len(post.text or '')} characters")
        return post
