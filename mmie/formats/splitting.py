"""Division of a file of posts into training, validation and test splits."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal

from rich.table import Table

from mmie.data.corpora.stratification import stratify
from mmie.data.parsing import MalformedLine, Record, expand_user, picture_path
from mmie.data.picture_audit import picture_digests
from mmie.data.sources import BadPost
from mmie.formats.base import FormatError, Notes, ReadOptions
from mmie.formats.conversion import read_posts
from mmie.formats.jsonl import JsonLines
from mmie.formats.pictures import PictureMover, PicturePolicy, picture_names
from mmie.formats.records import list_objects
from mmie.types import SPLITS, Split
from mmie.utils.files import atomic_folder

SplitUnit = Literal["post", "picture"]
"""What is divided: posts, or pictures with all their posts, which may share further pictures."""


@dataclass(slots=True)
class Division:
    """Counts of a division.

    Attributes:
        posts: Number of posts by split.
        pictures: Number of distinct pictures by split.
        labels: Number of entities by type, and of relations by label, by split.
        notes: What was changed or left out.
    """

    posts: Counter[Split] = field(default_factory=Counter)
    pictures: Counter[Split] = field(default_factory=Counter)
    labels: dict[Split, Counter[Hashable]] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)


def split_corpus(
    source: Path,
    out: Path,
    valid: float = 0.1,
    test: float = 0.1,
    by: SplitUnit = "picture",
    seed: int = 0,
    picture_files: PicturePolicy = "link",
) -> Division:
    """Divide the posts of a file between ``train.jsonl``, ``valid.jsonl`` and ``test.jsonl``.

    Each split gets its share of every entity type and relation label, as far as possible, by
    iterative stratification: see `mmie.data.corpora.stratification`. The same arguments give the
    same splits, in which posts keep their order.

    Args:
        source: File of mmie's JSON lines. `mmie convert` writes them from other formats.
        out: Folder to write, which must not exist or be empty.
        valid: Share of the validation split, 0 to 1. With 0 there is none.
        test: Share of the test split, 0 to 1. With 0 there is none.
        by: ``picture`` keeps posts that share a picture, by its content, in one split. ``post``
            divides posts whatever their pictures are.
        seed: Seed of the division.
        picture_files: Make hard links to the pictures in ``images/`` below ``out``, copy them, or
            leave them out.

    Returns:
        Counts by split and label.

    Raises:
        FormatError: A post of the file is malformed, the shares leave no training posts, or ``out``
            holds something.
    """
    if not (valid >= 0 and test >= 0 and valid + test < 1):
        raise FormatError(
            f"--valid {valid:g} and --test {test:g}: expected shares from 0 that add up to less "
            "than 1"
        )
    source, out = expand_user(source), expand_user(out)
    division = Division()
    records = _read(source, division.notes)
    keys = _picture_keys(records, source.parent)
    splits = _divide(records, keys if by == "picture" else None, (valid, test), seed)
    try:
        with atomic_folder(out) as folder:
            mover = PictureMover(source.parent, folder, picture_files)
            for split in dict.fromkeys(sorted(splits, key=SPLITS.index)):
                chosen = [index for index, own in enumerate(splits) if own == split]
                own_records = [mover.move(records[index], division.notes) for index in chosen]
                JsonLines().write(own_records, folder / f"{split}.jsonl", division.notes)
                division.posts[split] = len(chosen)
                division.labels[split] = sum(map(_labels, own_records), Counter())
                division.pictures[split] = len(set().union(*(keys[index] for index in chosen)))
    except FileExistsError as error:
        raise FormatError(f"{error}: name another folder by --out") from None
    return division


def render_division(division: Division) -> Table:
    """Render the counts of a division as a table with a column per split."""
    table = Table(title="posts and labels by split")
    table.add_column("")
    splits = list(division.posts)
    for split in splits:
        table.add_column(split, justify="right")
    _add_row(table, "posts", division.posts, splits)
    _add_row(table, "pictures", division.pictures, splits)
    names = {name for counts in division.labels.values() for name in counts}
    for name in sorted(names, key=str):
        counts = {split: division.labels[split][name] for split in splits}
        kind, label = name if isinstance(name, tuple) else ("", name)
        _add_row(table, f"{kind} {label}", counts, splits)
    return table


def _add_row(table: Table, name: str, counts: Mapping[Split, int], splits: Iterable[Split]) -> None:
    """Add a row of counts with their shares."""
    total = sum(counts.values())
    cells = []
    for split in splits:
        share = f" ({counts[split] / total:.1%})" if total else ""
        cells.append(f"{counts[split]}{share}")
    table.add_row(name, *cells)


def _read(source: Path, notes: Notes) -> list[Record]:
    """Return the records of a file.

    Raises:
        FormatError: A line is malformed, or there is none.
    """
    records: list[Record] = []
    for item in read_posts(JsonLines(), source, ReadOptions(), notes):
        if isinstance(item, BadPost):
            raise FormatError(
                f"{source}, {item.place}: {item.reason}; mmie convert writes the posts that can be "
                "read"
            )
        records.append(item)
    if not records:
        raise FormatError(f"{source}: expected posts, found none")
    return records


def _picture_keys(records: Sequence[Record], root: Path) -> list[set[str]]:
    """Return the keys of each post's pictures, which are equal for equal contents.

    Raises:
        FormatError: A path is none, or leads out of the folder.
    """
    paths: list[list[Path]] = []
    for record in records:
        try:
            paths.append([picture_path(root, name) for name in picture_names(record)])
        except MalformedLine as error:
            raise FormatError(f"post '{record['id']}': {error}") from None
    digests = picture_digests(set(chain.from_iterable(paths)))
    keys: list[set[str]] = []
    for own in paths:
        keys.append({digests.get(path, str(path)) for path in own})
    return keys


def _divide(
    records: Sequence[Record],
    keys: Sequence[Set[str]] | None,
    shares: tuple[float, float],
    seed: int,
) -> list[Split]:
    """Return the split of each post.

    Args:
        records: The posts.
        keys: Keys of their pictures; posts that share one stay together. None divides posts.
        shares: Shares of the validation and test splits.
        seed: Seed of the division.
    """
    if keys is None:
        members = [[index] for index in range(len(records))]
    else:
        members = group_by_picture(keys)
    labels = []
    for posts in members:
        counts: Counter[Hashable] = Counter()
        for index in posts:
            counts += _labels(records[index])
        labels.append(counts)
    all_shares = [1 - sum(shares), *shares]
    chosen = stratify(labels, list(map(len, members)), all_shares, seed)
    splits: list[Split] = ["train"] * len(records)
    for posts, split in zip(members, chosen, strict=True):
        for index in posts:
            splits[index] = SPLITS[split]
    return splits


def group_by_picture(keys: Sequence[Set[str]]) -> list[list[int]]:
    """Group posts that share a picture, directly or by way of other posts.

    Args:
        keys: Keys of each post's pictures.

    >>> group_by_picture([{"a"}, {"b"}, {"a", "b"}, set(), {"c"}])
    [[0, 1, 2], [3], [4]]
    """
    parents = list(range(len(keys)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    owners: dict[str, int] = {}
    for index, own in enumerate(keys):
        for key in own:
            roots = root(index), root(owners.setdefault(key, index))
            parents[max(roots)] = min(roots)
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for index in range(len(keys)):
        groups[root(index)].append(index)
    return list(groups.values())


def _labels(record: Record) -> Counter[Hashable]:
    """Count the entity types and relation labels of a post."""
    counts: Counter[Hashable] = Counter()
    for entity in list_objects(record, "entities"):
        counts["entity", entity["type"]] += 1
    for relation in list_objects(record, "relations"):
        counts["relation", relation["label"]] += 1
    return counts
