"""Pairing of a corpus's texts with photographs whose groups show the types of entities.

The texts and labels are those of the corpus. Its pictures are replaced by photographs from a folder
with one subfolder per group, such as ``PER/``, ``LOC/`` and ``None/``. In a chosen share of the
posts, the photograph's group is a type that the post's labels name. In all other posts, the
photograph is drawn independently of the text. Posts with the same text are drawn separately. Hence
the corpus measures whether a method uses photographs beside texts. It does not measure how well a
method does on the original corpus, and its card says so: see `mmie.data.corpora.card`.

The type that a post's photograph shows is drawn from the distinct types of its entities (``ner``),
or from the types of its relations' tails (``re``). A tail without a type has the one that its label
names (``loc`` in ``/per/loc/place_of_birth``), or else the label itself. Posts without entities or
relations show the group ``None``, if there is one.
"""

import json
import os
import random
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from mmie.data.corpora.base import Corpus, CorpusError
from mmie.data.corpora.card import write_card
from mmie.data.parsing import expand_user
from mmie.data.picture_audit import picture_digests
from mmie.data.post_json import post_to_json
from mmie.types import NO_RELATION, Post, Relation, Split, Task
from mmie.utils.files import atomic_folder

_WEIGHTS: dict[Split, int] = {"train": 7, "valid": 1, "test": 2}
"""Parts of a group's photographs that each split gets."""
_IMAGES = "images"
_MIN_GROUPS = 2
_LABEL_PARTS = 3
"""Parts of a relation label such as ``/per/loc/place_of_birth``."""

_Photographs = dict[str, list[Path]]
"""Photographs by group."""


@dataclass(frozen=True, slots=True)
class SplitPairing:
    """Counts of one split.

    Attributes:
        posts: Number of posts.
        chosen: Number of posts whose photograph was drawn from the group of one of their types.
        shown: Number of posts whose photograph is of such a group, those by chance included.
        photographs: Number of distinct photographs.
    """

    posts: int
    chosen: int
    shown: int
    photographs: int


@dataclass(frozen=True, slots=True)
class Pairing:
    """Settings of a paired corpus and the counts of its splits.

    Attributes:
        corpus: Class name of the corpus that the texts and labels come from.
        task: Task whose labels the photographs show.
        share: Share of posts whose photograph was drawn by their labels.
        seed: Seed of everything random.
        groups: Number of usable photographs by group.
        splits: Counts of each split.
    """

    corpus: str
    task: Task
    share: float
    seed: int
    groups: dict[str, int]
    splits: dict[Split, SplitPairing]

    @property
    def note(self) -> str:
        """Remark that reports print beside scores of the corpus."""
        return (
            f"Texts and labels of {self.corpus} with other pictures: in {self.share:.0%} of the "
            "posts a photograph that was chosen by the labels, in the others one at random. "
            f"These are not scores of {self.corpus}, and cannot be compared with published ones."
        )


def pair_corpus(
    corpus: Corpus,
    photographs: str | Path,
    out: str | Path,
    task: Task = "ner",
    share: float = 0.8,
    seed: int = 1234,
    groups: dict[str, str] | None = None,
    copy: bool = False,
) -> Pairing:
    """Write the texts and labels of a corpus with photographs in place of its pictures.

    ``out`` is a folder that `JsonlCorpus` reads, with a card whose note every report prints. The
    same arguments give the same lines. No photograph occurs in two splits. With a larger share,
    further posts change their photograph, and the others keep it.

    Args:
        corpus: Corpus of the texts and labels.
        photographs: Folder with one subfolder of photographs per group.
        out: Folder to write, which must not exist or be empty.
        task: Task whose labels the photographs show.
        share: Share of posts, 0 to 1, whose photograph is drawn from the group of one of their
            types. With 0, all photographs are independent of the texts.
        seed: Seed of everything random.
        groups: Subfolder of each type or label, where its name is another one, and of ``None`` for
            posts without entities or relations. Case is ignored.
        copy: Copy the photographs. By default they are hard links, which need the same disk.

    Returns:
        Settings and counts, as on the card.

    Raises:
        CorpusError: The corpus has no labels for the task, a type has no group, the photographs
            cannot be used or linked, or ``out`` holds something.
        ValueError: ``share`` is out of range.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}: expected a share from 0 to 1")
    if task not in corpus.tasks:
        raise CorpusError(f"{corpus.name} has no labels for task {task}")
    pictures = _read_photographs(expand_user(photographs))
    pools = _split_photographs(pictures, corpus.splits, seed)
    groups_by_type = _groups_by_type(pictures, groups or {})
    counts: dict[Split, SplitPairing] = {}
    try:
        with atomic_folder(expand_user(out)) as partial:
            for split in corpus.splits:
                posts = corpus.posts(split)
                shown = [_groups_of(post, task, groups_by_type) for post in posts]
                draw = _draw(shown, pools[split], share, random.Random(f"{seed} {split}"))
                _write_posts(partial, split, posts, draw.photographs, copy)
                counts[split] = _count(shown, draw)
            sizes = {group: len(files) for group, files in pictures.items()}
            pairing = Pairing(type(corpus).__name__, task, share, seed, sizes, counts)
            write_card(partial, pairing.note, asdict(pairing))
    except FileExistsError as error:
        raise CorpusError(f"{error}: name another folder by --out") from None
    return pairing


def render_pairing(pairing: Pairing) -> Table:
    """Render the counts of a paired corpus as a table with a row per split."""
    title = f"{pairing.corpus} with photographs, share {pairing.share:g}, seed {pairing.seed}"
    table = Table(title=title, caption=pairing.note)
    table.add_column("split")
    for heading in ("posts", "chosen by label", "showing a label", "photographs"):
        table.add_column(heading, justify="right")
    for split, counts in pairing.splits.items():
        numbers = (counts.posts, counts.chosen, counts.shown, counts.photographs)
        table.add_row(split, *map(str, numbers))
    return table


class _Draw(NamedTuple):
    """Photographs of a split's posts.

    Attributes:
        photographs: Photograph of each post.
        chosen: Number of posts whose photograph was drawn from the group of one of their types.
    """

    photographs: list[Path]
    chosen: int


def _read_photographs(folder: Path) -> _Photographs:
    """List the photographs of each group in the order of their names.

    Files that are no pictures are left out, and so are copies of a picture.

    Raises:
        CorpusError: The folder has fewer than two groups, or a picture is in two groups.
    """
    if not folder.is_dir():
        raise CorpusError(f"{folder}: expected a folder of photographs, found no such folder")
    files: list[Path] = []
    for group in sorted(folder.iterdir()):
        if group.is_dir() and not group.name.startswith("."):
            files += sorted(file for file in group.iterdir() if file.is_file())
    photographs: _Photographs = {}
    first_files: dict[str, Path] = {}
    for file, digest in picture_digests(files).items():
        first = first_files.setdefault(digest, file)
        if first is file:
            photographs.setdefault(file.parent.name, []).append(file)
        elif first.parent != file.parent:
            raise CorpusError(f"{first} and {file}: expected each picture in one group")
    if len(photographs) < _MIN_GROUPS:
        raise CorpusError(
            f"{folder}: expected at least {_MIN_GROUPS} subfolders with pictures, one per group, "
            f"found {len(photographs)}"
        )
    return photographs


def _split_photographs(
    photographs: _Photographs, splits: Sequence[Split], seed: int
) -> dict[Split, _Photographs]:
    """Divide the photographs of each group between the splits at random.

    Args:
        photographs: Photographs by group.
        splits: Splits of the corpus.
        seed: Seed of the division.

    Returns:
        At least one photograph of each group for each split.

    Raises:
        CorpusError: A group has fewer photographs than there are splits.
    """
    pools: dict[Split, _Photographs] = {split: {} for split in splits}
    total = sum(_WEIGHTS[split] for split in splits)
    for group, files in photographs.items():
        if len(files) < len(splits):
            raise CorpusError(
                f"{files[0].parent}: expected at least {len(splits)} pictures, one for each "
                f"split, found {len(files)}"
            )
        remaining = random.Random(f"{seed} {group}").sample(files, len(files))
        for split in reversed(splits[1:]):
            count = max(1, len(files) * _WEIGHTS[split] // total)
            pools[split][group] = remaining[:count]
            remaining = remaining[count:]
        pools[splits[0]][group] = remaining
    return pools


def _groups_by_type(photographs: _Photographs, given: Mapping[str, str]) -> dict[str, str]:
    """Map types and labels in lower case to groups.

    Args:
        photographs: Photographs by group.
        given: Groups of types that have another name.

    Raises:
        CorpusError: A given group does not exist.
    """
    groups = {group.casefold(): group for group in photographs}
    for name, group in given.items():
        if group not in photographs:
            raise CorpusError(
                f"groups: expected one of {', '.join(photographs)} for {name}, found {group}"
            )
        groups[name.casefold()] = group
    return groups


def _groups_of(post: Post, task: Task, groups_by_type: Mapping[str, str]) -> list[str]:
    """Return the distinct groups, sorted, that a post's labels name.

    A post without labels has the group ``None``, or none if there is no such group.

    Raises:
        CorpusError: A type has no group.
    """
    types = {entity.type for entity in post.entities}
    if task == "re":
        relations = [relation for relation in post.relations if relation.label != NO_RELATION]
        types = {_tail_type(relation) for relation in relations}
    if not types and NO_RELATION.casefold() in groups_by_type:
        types = {NO_RELATION}
    groups: set[str] = set()
    for name in types:
        if name.casefold() not in groups_by_type:
            raise CorpusError(
                f"post {post.id}: {name} has no folder of photographs: name one by --groups"
            )
        groups.add(groups_by_type[name.casefold()])
    return sorted(groups)


def _tail_type(relation: Relation) -> str:
    """Return the type of a relation's tail, from the label if the tail has none."""
    if relation.tail.type:
        return relation.tail.type
    start, *parts = relation.label.split("/")
    return parts[1] if start == "" and len(parts) == _LABEL_PARTS else relation.label


def _draw(
    shown: Sequence[Sequence[str]],
    pool: Mapping[str, Sequence[Path]],
    share: float,
    numbers: random.Random,
) -> _Draw:
    """Draw the photograph of each post.

    Args:
        shown: Groups that the labels of each post name; empty for a post that can show none.
        pool: Photographs of the split by group.
        share: Share of the posts that can show a group which do.
        numbers: Source of random numbers.
    """
    able = [index for index, groups in enumerate(shown) if groups]
    chosen = set(numbers.sample(able, len(able))[: round(share * len(able))])
    photographs: list[Path] = []
    for index, groups in enumerate(shown):
        # both are drawn for every post, so that the share changes no other post's photograph
        photograph = numbers.choice(pool[numbers.choice(list(pool))])
        if groups:
            fitting = numbers.choice(pool[numbers.choice(groups)])
            photograph = fitting if index in chosen else photograph
        photographs.append(photograph)
    return _Draw(photographs, len(chosen))


def _count(shown: Sequence[Sequence[str]], draw: _Draw) -> SplitPairing:
    """Count the posts and photographs of a split.

    Args:
        shown: Groups that the labels of each post name.
        draw: Photographs of the posts.
    """
    num_shown = 0
    for groups, photograph in zip(shown, draw.photographs, strict=True):
        num_shown += photograph.parent.name in groups
    return SplitPairing(len(shown), draw.chosen, num_shown, len(set(draw.photographs)))


def _write_posts(
    folder: Path, split: Split, posts: Iterable[Post], photographs: Iterable[Path], copy: bool
) -> None:
    """Write the posts of a split with their photographs, and link or copy these.

    Args:
        folder: Folder of the corpus.
        split: The split.
        posts: The posts, whose own pictures and crops are left out.
        photographs: Photograph of each post.
        copy: Whether to copy photographs.

    Raises:
        CorpusError: A photograph cannot be linked.
    """
    lines: list[str] = []
    for post, photograph in zip(posts, photographs, strict=True):
        image = folder / _IMAGES / photograph.parent.name / photograph.name
        if not image.exists():
            image.parent.mkdir(parents=True, exist_ok=True)
            _place_photograph(photograph, image, copy)
        record = post_to_json(replace(post, image=image, more_images=(), crops=()), folder)
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")


def _place_photograph(photograph: Path, image: Path, copy: bool) -> None:
    """Copy a photograph, or make a hard link to it.

    Raises:
        CorpusError: The link cannot be made.
    """
    if copy:
        shutil.copyfile(photograph, image)
        return
    try:
        os.link(photograph.resolve(), image)
    except OSError as error:
        raise CorpusError(
            f"{photograph}: expected a file to which a link can be made, found {error.strerror}: "
            "add --copy true"
        ) from None
