"""Folders and files that hold a split's crops, so that ``mmie fit`` finds them."""

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mmie.data.corpora.base import Corpus, CorpusError
from mmie.data.corpora.card import CARD_FILE
from mmie.data.corpora.mnre import MNRE
from mmie.data.corpora.twitter import Twitter2015, Twitter2017
from mmie.data.post_json import post_to_json
from mmie.data.sources import BadPost, SourceOptions, read_source
from mmie.data.sources.reading import DEFAULT_OPTIONS
from mmie.grounding.errors import GroundingError, write_errors
from mmie.grounding.ground import Grounding
from mmie.grounding.index import IndexKey, to_pth, write_index
from mmie.types import Post, Split
from mmie.utils.files import atomic_write, atomic_write_text, digest_file
from mmie.utils.partial_files import remove_stale_partials

_CROP_FOLDER = "crops"
_PICTURE_FOLDER = "images"
_DIGITS = 16
"""Hexadecimal digits of a picture's digest in the name of a link to it."""
_PICTURE_SPLITS: dict[Split, str] = {"train": "train", "valid": "val", "test": "test"}
_MNRE_INDEX_SPLITS: dict[Split, str] = {"train": "train", "valid": "dev", "test": "test"}


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of a split's crops, and of the files that describe them.

    Attributes:
        crops: Folder of the crop files.
        index: The index.
        published: The published form of the index; None in the package's own layout.
        key: Key of the published form.
        posts: File of the posts with crops, in the package's own layout; None in a published one.
        card: Card of the corpus, which is copied beside the posts; None if there is none.
    """

    crops: Path
    index: Path
    published: Path | None = None
    key: IndexKey = "image"
    posts: Path | None = None
    card: Path | None = None

    def check(self, source: Path, overwrite: bool) -> None:
        """Raise if writing would replace a file that `mmie ground` has not written.

        Args:
            source: The file that posts are read from.
            overwrite: Whether posts or an index of other origin may be replaced.

        Raises:
            GroundingError: The source would be replaced, or posts or an index of other origin.
        """
        if self.posts is not None and self.posts.resolve() == source.resolve():
            raise GroundingError(f"{source}: would be written over: name another folder by --out")
        target = self.posts or self.published
        if target is not None and target.exists() and not (self.index.exists() or overwrite):
            raise GroundingError(
                f"{target}: was not written by mmie ground: move it, or add --overwrite"
            )

    def remove_stale_partials(self) -> None:
        """Remove what killed processes left half written in the folders of the layout."""
        folders = {self.crops, self.index.parent}
        if self.published is not None:
            folders.add(self.published.parent)
        if self.posts is not None:
            folders |= {self.posts.parent, self.posts.parent / _PICTURE_FOLDER}
        for folder in folders:
            remove_stale_partials(folder)

    def write(self, grounding: Grounding) -> None:
        """Write every file but the crops, which `ground_posts` has written.

        Raises:
            GroundingError: A file cannot be written.
        """
        folder = self.index.parent.absolute()
        entries = []
        for entry in grounding.entries:
            image = Path(os.path.relpath(entry.image, folder)).as_posix()
            entries.append(replace(entry, image=image))
        write_index(self.index, entries)
        if self.published is not None:
            to_pth(entries, self.published, self.key)
        if self.posts is not None:
            write_posts(self.posts, grounding.posts, set(grounding.unreadable))
            if self.card is not None:
                with write_errors(self.posts):
                    atomic_write(self.posts.parent / CARD_FILE, partial(shutil.copyfile, self.card))


def corpus_layout(corpus: Corpus, split: Split, out: Path | None = None) -> Layout:
    """Return the layout of a corpus for one split.

    Args:
        corpus: The corpus.
        split: The split.
        out: Folder to write to; None is the corpus's own, if its layout is a published one.

    Raises:
        GroundingError: The corpus has the package's own layout, and ``out`` is None.
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
    card = corpus.root / CARD_FILE
    return replace(posts_layout(out, split), card=card if card.exists() else None)


def posts_layout(out: Path, name: str) -> Layout:
    """Return the package's own layout.

    Posts are in ``<name>.jsonl``, their crops and the index in ``crops/``.

    Args:
        out: Folder to write to.
        name: Name of the split or of the posts.
    """
    crops = out / _CROP_FOLDER
    return Layout(crops, crops / f"{name}.jsonl", posts=out / f"{name}.jsonl")


def read_posts(source: Path, options: SourceOptions = DEFAULT_OPTIONS) -> list[Post]:
    """Read the posts of a file or folder, see `mmie.data.sources`.

    Pictures without a text become posts without words.

    Args:
        source: The file or folder.
        options: How it is read.

    Raises:
        CorpusError: A post is malformed.
        SourceError: The source does not exist, or is of no known kind.
    """
    posts = []
    for item in read_source(str(source), options=options):
        if isinstance(item, BadPost):
            raise CorpusError(f"{source}:{item.place}: {item.reason}")
        posts.append(item)
    return posts


def write_posts(file: Path, posts: Iterable[Post], unreadable: set[Path]) -> None:
    """Write posts atomically as `JsonlCorpus` reads them.

    A post must not name a picture outside the file's folder: such a picture is linked into
    ``images/`` (or copied, onto another disk) and named by its content. Unreadable pictures are
    left out. So are posts without words, which no method can be trained on; the index holds their
    crops.

    Args:
        file: The file.
        posts: The posts.
        unreadable: Pictures that cannot be read.

    Raises:
        GroundingError: A file cannot be written.
    """
    lines = []
    for post in posts:
        if not post.words:
            continue
        images: list[Path] = []
        for image in post.images:
            if isinstance(image, Path) and image not in unreadable:
                images.append(_link_into(file.parent, image))
        linked = replace(post, image=next(iter(images), None), more_images=tuple(images[1:]))
        record = post_to_json(linked, file.parent)
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    with write_errors(file):
        atomic_write_text(file, "".join(lines))


def _link_into(folder: Path, picture: Path) -> Path:
    """Return a picture that lies inside a folder, or else make a link to it there.

    Raises:
        GroundingError: The link cannot be written.
    """
    is_inside = picture.absolute().is_relative_to(folder.absolute())
    if is_inside and picture.resolve().is_relative_to(folder.resolve()):
        return picture
    name = f"{digest_file(picture)[:_DIGITS]}{picture.suffix.lower()}"
    link = folder / _PICTURE_FOLDER / name
    if not link.exists():
        with write_errors(link):
            atomic_write(link, partial(_link_or_copy, picture))
    return link


def _link_or_copy(picture: Path, target: Path) -> None:
    """Make a hard link, or a copy where the file system does not support one.

    Raises:
        OSError: The target cannot be written.
    """
    try:
        os.link(picture.resolve(), target)
    except OSError:
        shutil.copyfile(picture, target)
