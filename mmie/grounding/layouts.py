"""Where posts to ground come from, and where their crops go so that ``mmie fit`` finds them."""

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from mmie.data.corpora.base import Corpus, CorpusError
from mmie.data.corpora.mnre import MNRE
from mmie.data.corpora.twitter import Twitter2015, Twitter2017
from mmie.data.post_json import post_to_json
from mmie.data.sources import BadPost, read_source
from mmie.grounding.detection import GroundingError
from mmie.grounding.files import atomic_write
from mmie.grounding.ground import Grounding
from mmie.grounding.index import IndexEntry, IndexKey, to_pth, write_index
from mmie.types import Post, Split
from mmie.utils.files import digest_file

_CROP_FOLDER = "crops"
_PICTURE_FOLDER = "images"
_DIGITS = 16
_PICTURE_SPLITS: dict[Split, str] = {"train": "train", "valid": "val", "test": "test"}
_MNRE_INDEX_SPLITS: dict[Split, str] = {"train": "train", "valid": "dev", "test": "test"}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the crops of a split go.

    Attributes:
        crops: Folder of the crop files.
        index: The index.
        published: The published form of the index; None in the package's own layout.
        key: What the published form is keyed by.
        posts: The split's posts with crops, in the package's own layout; None in a published one.
    """

    crops: Path
    index: Path
    published: Path | None = None
    key: IndexKey = "image"
    posts: Path | None = None

    def check(self, source: Path, overwrite: bool) -> None:
        """Refuse to write over the file that is read, or over posts or an index of other origin.

        Args:
            source: The file that posts are read from.
            overwrite: Whether posts or an index may go that were not written here.

        Raises:
            GroundingError: It would be written over.
        """
        if self.posts is not None and self.posts.resolve() == source.resolve():
            raise GroundingError(f"{source}: would be written over: name another folder by --out")
        target = self.posts or self.published
        if target is not None and target.exists() and not (self.index.exists() or overwrite):
            raise GroundingError(
                f"{target}: was not written by mmie ground: move it, or add --overwrite"
            )

    def write(self, grounding: Grounding) -> None:
        """Write the index, and what the layout has beside it; the crops are there already.

        Raises:
            GroundingError: A file cannot be written.
        """
        entries = [_relative_entry(entry, self.index.parent) for entry in grounding.entries]
        write_index(self.index, entries)
        if self.published is not None:
            to_pth(entries, self.published, self.key)
        if self.posts is not None:
            write_posts(self.posts, grounding.posts, set(grounding.unreadable))


def read_posts(source: Path) -> list[Post]:
    """The posts of a file or folder, see `mmie.data.sources`; pictures without a text are posts without words.

    Raises:
        CorpusError: A post is malformed.
        SourceError: There is no such source, or it is of another kind.
    """
    posts = []
    for item in read_source(str(source)):
        if isinstance(item, BadPost):
            raise CorpusError(f"{source}:{item.place}: {item.reason}")
        posts.append(item)
    return posts


def corpus_layout(corpus: Corpus, split: Split, out: Path | None = None) -> Layout:
    """The layout that a corpus is read in, of one split.

    Args:
        corpus: The corpus.
        split: The split.
        out: Folder to write into; None takes the corpus's own, where it is a published layout.

    Raises:
        GroundingError: A corpus in the package's own layout, and no folder is named.
    """
    root = out or corpus.root
    if isinstance(corpus, MNRE):
        index = root / f"mre_{_MNRE_INDEX_SPLITS[split]}_dict"
        crops = root / "img_vg" / _PICTURE_SPLITS[split] / _CROP_FOLDER
        return Layout(crops, index.with_suffix(".jsonl"), index.with_suffix(".pth"), "id")
    if isinstance(corpus, Twitter2015 | Twitter2017):
        index = root / f"{corpus.name}_{_PICTURE_SPLITS[split]}_dict"
        crops = root / f"{corpus.name}_aux_images" / _PICTURE_SPLITS[split] / _CROP_FOLDER
        return Layout(crops, index.with_suffix(".jsonl"), index.with_suffix(".pth"), "image")
    if out is None:
        raise GroundingError(f"{corpus.name}: name the folder for the posts with crops by --out")
    return posts_layout(out, split)


def posts_layout(out: Path, name: str) -> Layout:
    """The package's own layout: posts in ``<name>.jsonl``, their crops and their index in ``crops/``."""
    crops = out / _CROP_FOLDER
    return Layout(crops, crops / f"{name}.jsonl", posts=out / f"{name}.jsonl")


def write_posts(file: Path, posts: Iterable[Post], unreadable: set[Path]) -> None:
    """Write posts so that `JsonlCorpus` reads them, whole or not at all.

    A picture that lies outside the file's folder is linked into its ``images/`` (or copied, onto another disk), named
    after its content, since a post may name no picture outside its folder. One that cannot be read is left out, and so
    is a post without words, which no method can be trained on: its crops are in the index.

    Raises:
        GroundingError: A file cannot be written.
    """
    lines = []
    for post in posts:
        if not post.words:
            continue
        found = (
            post.image if isinstance(post.image, Path) and post.image not in unreadable else None
        )
        image = None if found is None else _inside(found, file.parent)
        record = post_to_json(replace(post, image=image), file.parent)
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    atomic_write(file, lambda partial: partial.write_text("".join(lines), encoding="utf-8"))


def _inside(picture: Path, folder: Path) -> Path:
    """The picture, or a link to it, inside a folder."""
    if picture.resolve().is_relative_to(folder.resolve()) and picture.absolute().is_relative_to(
        folder.absolute()
    ):
        return picture
    linked = folder / _PICTURE_FOLDER / f"{digest_file(picture)[:_DIGITS]}{picture.suffix.lower()}"
    if not linked.exists():
        atomic_write(linked, lambda partial: _link(picture, partial))
    return linked


def _link(picture: Path, target: Path) -> None:
    """A hard link, or a copy where there can be none."""
    try:
        os.link(picture.resolve(), target)
    except OSError:
        shutil.copyfile(picture, target)


def _relative_entry(entry: IndexEntry, folder: Path) -> IndexEntry:
    """The entry with its picture as seen from a folder."""
    return replace(entry, image=Path(os.path.relpath(entry.image, folder.absolute())).as_posix())
