"""What a corpus holds (`corpus_stats`), and what is wrong with it (`check_corpus`)."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypedDict

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mmie.data.corpora.base import Corpus
from mmie.data.corpora.editions import find_edition
from mmie.data.pictures import MAX_PIXELS, audit_pictures
from mmie.types import NO_RELATION, SPLITS, Post, Split
from mmie.utils.files import digest_file

_SHOWN = 10
_PLACEHOLDER_NAMES = 3
"""So many names for the same picture make it a suspected placeholder ("Image Not Found")."""


class SplitStats(TypedDict):
    """What one split holds.

    ``entities`` counts all entities per type, ``b_tags`` counts them as the papers' tables do: they differ where the
    files hold an ``I-`` tag without a ``B-``. ``pictures`` counts distinct files named, crops apart.
    """

    posts: int
    words: int
    entities: dict[str, int]
    b_tags: dict[str, int]
    relations: dict[str, int]
    pictures: int
    pictures_readable: int
    posts_without_picture: int


class CorpusStats(TypedDict):
    """Name of a corpus and what its splits hold."""

    name: str
    splits: dict[Split, SplitStats]


@dataclass
class CorpusReport:
    """What `check_corpus` found.

    Attributes:
        name: Name of the corpus.
        edition: Which edition its texts are.
        edition_notes: How the edition was recognised, and how its counts differ from those expected.
        missing_splits: Splits without a text file.
        pictures: Distinct pictures named.
        unreadable_pictures: Reasons by file.
        crops: Distinct crops named.
        unreadable_crops: Reasons by file.
        placeholders: Groups of pictures that have one content under three or more names.
        shared_posts: First ids, by split, of texts that occur in two splits.
        shared_pictures: File names, by split, of pictures that occur in two splits, by name or by content.
        skipped_lines: Messages of malformed lines that were skipped, by split.
        label_problems: Types and labels that only evaluation splits use, or that no training post uses.
    """

    name: str
    edition: str
    edition_notes: list[str] = field(default_factory=list)
    missing_splits: list[Split] = field(default_factory=list)
    pictures: int = 0
    unreadable_pictures: dict[str, str] = field(default_factory=dict)
    crops: int = 0
    unreadable_crops: dict[str, str] = field(default_factory=dict)
    placeholders: list[list[str]] = field(default_factory=list)
    shared_posts: list[dict[Split, str]] = field(default_factory=list)
    shared_pictures: list[dict[Split, str]] = field(default_factory=list)
    skipped_lines: dict[Split, list[str]] = field(default_factory=dict)
    label_problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is missing or broken; placeholders, repetitions and label problems are remarks."""
        return not (
            self.missing_splits
            or self.unreadable_pictures
            or self.unreadable_crops
            or self.skipped_lines
        )

    def to_dict(self) -> dict[str, object]:
        """The report for JSON, ``ok`` included."""
        return {"ok": self.ok, **asdict(self)}


def corpus_stats(corpus: Corpus, max_pixels: int = MAX_PIXELS) -> CorpusStats:
    """Counts of every split that is there.

    Args:
        corpus: The corpus.
        max_pixels: A picture with more pixels counts as unreadable.
    """
    posts = {split: corpus.posts(split) for split in corpus.splits}
    unreadable = audit_pictures(
        _named_pictures(post for split in posts for post in posts[split]), max_pixels
    )
    return {
        "name": corpus.name,
        "splits": {split: _split_stats(corpus, split, unreadable) for split in posts},
    }


def _split_stats(corpus: Corpus, split: Split, unreadable: Mapping[Path, str]) -> SplitStats:
    posts = corpus.posts(split)
    pictures = _named_pictures(posts)
    readable = {path for path in pictures if path not in unreadable}
    entities = Counter(entity.type for post in posts for entity in post.entities)
    relations = Counter(relation.label for post in posts for relation in post.relations)
    return {
        "posts": len(posts),
        "words": sum(len(post.words) for post in posts),
        "entities": _in_order(entities, corpus.entity_types),
        "b_tags": _in_order(corpus.published_counts(split), corpus.entity_types),
        "relations": _in_order(relations, corpus.relation_labels),
        "pictures": len(pictures),
        "pictures_readable": len(readable),
        "posts_without_picture": sum(post.image not in readable for post in posts),
    }


def render_stats(stats: CorpusStats) -> Table:
    """The counts, one column per split; where ``B-`` tags are fewer than entities, in brackets."""
    splits = stats["splits"].values()
    table = Table(title=stats["name"])
    table.add_column("")
    for split in stats["splits"]:
        table.add_column(split, justify="right")
    table.add_row("posts", *(str(split["posts"]) for split in splits))
    table.add_row("words", *(str(split["words"]) for split in splits))
    table.add_row("pictures named", *(str(split["pictures"]) for split in splits))
    table.add_row("pictures readable", *(str(split["pictures_readable"]) for split in splits))
    table.add_row(
        "posts without readable picture", *(str(split["posts_without_picture"]) for split in splits)
    )
    for kind in dict.fromkeys(kind for split in splits for kind in split["entities"]):
        table.add_row(f"{kind} entities", *(_entity_cell(split, kind) for split in splits))
    for label in dict.fromkeys(label for split in splits for label in split["relations"]):
        table.add_row(
            Text(f"{label} relations"), *(str(split["relations"].get(label, 0)) for split in splits)
        )
    return table


def check_corpus(corpus: Corpus, max_pixels: int = MAX_PIXELS) -> CorpusReport:
    """Look through a corpus for what makes results wrong or not comparable.

    Args:
        corpus: The corpus; read with ``strict=False``, it has its malformed lines in the report.
        max_pixels: A picture with more pixels counts as unreadable.

    Raises:
        CorpusError: A line is malformed and the corpus is strict.
    """
    posts = {split: corpus.posts(split) for split in corpus.splits}
    edition = find_edition(corpus)
    pictures = _named_pictures(post for split in posts for post in posts[split])
    crops = list(
        dict.fromkeys(crop for split in posts for post in posts[split] for crop in post.crops)
    )
    unreadable = audit_pictures([*pictures, *crops], max_pixels)
    contents = _contents([path for path in pictures if path not in unreadable])
    return CorpusReport(
        name=corpus.name,
        edition=edition.name,
        edition_notes=edition.notes,
        missing_splits=[split for split in SPLITS if split not in posts],
        pictures=len(pictures),
        unreadable_pictures={
            str(path): unreadable[path] for path in pictures if path in unreadable
        },
        crops=len(crops),
        unreadable_crops={str(path): unreadable[path] for path in crops if path in unreadable},
        placeholders=_placeholders(contents),
        shared_posts=_in_two_splits(
            {split: [(post.words, post.id) for post in posts[split]] for split in posts}
        ),
        shared_pictures=_shared_pictures(posts, contents),
        skipped_lines={
            split: corpus.skipped[split] for split in posts if corpus.skipped.get(split)
        },
        label_problems=_label_problems(corpus, posts),
    )


def render_report(report: CorpusReport) -> RenderableType:
    """The report for a terminal; long lists are cut."""
    lines = [f"{report.name}: {report.edition}", *(f"  {note}" for note in report.edition_notes)]
    lines += [f"{split}: no text file" for split in report.missing_splits]
    lines += _audit_lines(f"of {report.pictures} pictures unreadable", report.unreadable_pictures)
    lines += _audit_lines(f"of {report.crops} crops unreadable", report.unreadable_crops)
    lines += _list_lines(
        "suspected placeholder pictures", [_group_line(group) for group in report.placeholders]
    )
    lines += _list_lines(
        "texts in two splits", [_split_line(shared) for shared in report.shared_posts]
    )
    lines += _list_lines(
        "pictures in two splits", [_split_line(shared) for shared in report.shared_pictures]
    )
    lines += _list_lines(
        "skipped lines", [line for lines in report.skipped_lines.values() for line in lines]
    )
    lines += _list_lines("label problems", report.label_problems)
    verdict = Text("ok", "green") if report.ok else Text("something is missing or broken", "red")
    return Group(*(Text(line) for line in lines), verdict)


def _named_pictures(posts: Iterable[Post]) -> list[Path]:
    """Distinct pictures that posts name, crops apart."""
    return list(dict.fromkeys(post.image for post in posts if post.image is not None))


def _in_order(counts: Mapping[str, int], order: Sequence[str]) -> dict[str, int]:
    """The counts of the names in ``order``, 0 included, then those of others, sorted."""
    names = [*order, *sorted(set(counts).difference(order))]
    return {name: counts.get(name, 0) for name in names}


def _contents(pictures: Iterable[Path]) -> dict[Path, str]:
    """A name for the content of every picture; equal contents have equal names. Only files of equal size are read."""
    by_size = defaultdict(list)
    for path in pictures:
        by_size[path.stat().st_size].append(path)
    contents = {}
    for paths in by_size.values():
        for path in paths:
            contents[path] = digest_file(path) if len(paths) > 1 else str(path)
    return contents


def _placeholders(contents: Mapping[Path, str]) -> list[list[str]]:
    """Pictures with one content under several names, the largest group first."""
    groups = defaultdict(list)
    for path, content in contents.items():
        groups[content].append(path)
    suspected = [
        paths
        for paths in groups.values()
        if len({path.name for path in paths}) >= _PLACEHOLDER_NAMES
    ]
    return [[str(path) for path in paths] for paths in sorted(suspected, key=len, reverse=True)]


def _shared_pictures(
    posts: Mapping[Split, Sequence[Post]], contents: Mapping[Path, str]
) -> list[dict[Split, str]]:
    """File names of pictures that occur in two splits under one name or with one content."""
    pictures = {split: _named_pictures(posts[split]) for split in posts}
    by_name = _in_two_splits(
        {split: [(path.name, path.name) for path in pictures[split]] for split in posts}
    )
    known = {split: [path for path in pictures[split] if path in contents] for split in posts}
    by_content = _in_two_splits(
        {split: [(contents[path], path.name) for path in known[split]] for split in posts}
    )
    return by_name + [shared for shared in by_content if shared not in by_name]


def _in_two_splits(items: Mapping[Split, Sequence[tuple[Hashable, str]]]) -> list[dict[Split, str]]:
    """For every key that occurs in two splits, the first name that goes with it in each."""
    found: dict[Hashable, dict[Split, str]] = defaultdict(dict)
    for split, pairs in items.items():
        for key, name in pairs:
            found[key].setdefault(split, name)
    return [names for names in found.values() if len(names) > 1]


def _label_problems(corpus: Corpus, posts: Mapping[Split, Sequence[Post]]) -> list[str]:
    """Labels that a model cannot learn: used outside training only, or never used in training."""
    known = {*corpus.entity_types, *corpus.relation_labels} - {NO_RELATION}
    used = {split: _labels(posts[split]) for split in posts}
    problems = [
        f"{split}: {label}, {count} times, is no label of the corpus"
        for split in posts
        for label, count in sorted(used[split].items())
        if label not in known
    ]
    untrained = sorted(known.difference(used["train"])) if "train" in used else []
    return problems + [f"train: {label} does not occur" for label in untrained]


def _labels(posts: Iterable[Post]) -> Counter[str]:
    """Entity types and relation labels but ``None``, counted."""
    counts = Counter(entity.type for post in posts for entity in post.entities)
    counts.update(
        relation.label
        for post in posts
        for relation in post.relations
        if relation.label != NO_RELATION
    )
    return counts


def _entity_cell(split: SplitStats, kind: str) -> str:
    entities, tags = split["entities"].get(kind, 0), split["b_tags"].get(kind, 0)
    return str(entities) if entities == tags else f"{entities} ({tags} B-)"


def _audit_lines(title: str, unreadable: Mapping[str, str]) -> list[str]:
    """How many files are unreadable for which reason, and the first ones."""
    reasons = ", ".join(
        f"{count} {reason}" for reason, count in Counter(unreadable.values()).most_common()
    )
    files = [f"{file}: {reason}" for file, reason in unreadable.items()]
    return _list_lines(f"{title} ({reasons})", files)


def _list_lines(title: str, items: Sequence[str]) -> list[str]:
    """How many items there are, and the first ones; nothing if there are none."""
    if not items:
        return []
    more = [f"  ... and {len(items) - _SHOWN} more"] if len(items) > _SHOWN else []
    return [f"{len(items)} {title}:", *(f"  {item}" for item in items[:_SHOWN]), *more]


def _group_line(group: Sequence[str]) -> str:
    return f"{len(group)} times: {', '.join(Path(file).name for file in group[:_SHOWN])}"


def _split_line(shared: Mapping[Split, str]) -> str:
    return ", ".join(f"{split} {name}" for split, name in shared.items())
