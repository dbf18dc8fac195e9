"""Check of a corpus for problems that make results wrong or hard to compare."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from mmie.data.corpora.base import Corpus, count_entity_types, count_relation_labels
from mmie.data.corpora.editions import find_edition
from mmie.data.corpora.statistics import named_pictures
from mmie.data.frame_files import check_videos
from mmie.data.picture_audit import audit_pictures
from mmie.data.pictures import MAX_PIXELS
from mmie.types import NO_RELATION, SPLITS, Post, Split
from mmie.utils.files import digest_file

_MAX_LISTED = 10
"""Items of a kind that a rendered report lists."""
_PLACEHOLDER_NAMES = 3
"""Number of names from which one picture is a suspected placeholder ("Image Not Found")."""

_Posts = Mapping[Split, Sequence[Post]]


@dataclass
class CorpusReport:
    """Findings of `check_corpus`.

    Attributes:
        name: Name of the corpus.
        edition: Name of the edition of its texts.
        edition_notes: How the edition was recognised, and how its counts differ from those
            expected.
        missing_splits: Splits without a text file.
        pictures: Number of distinct pictures named.
        unreadable_pictures: Reasons by file.
        crops: Number of distinct crops named.
        unreadable_crops: Reasons by file.
        placeholders: Groups of pictures that have one content under three or more names.
        shared_posts: First ids, by split, of texts that occur in two splits.
        shared_pictures: File names, by split, of pictures that occur in two splits, by name or by
            content.
        skipped_lines: Messages of malformed lines that were skipped, by split.
        label_problems: Types and labels that only evaluation splits use, or that no training post
            uses.
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
        """Whether nothing is missing or broken, whatever the remarks.

        Placeholders, repetitions and label problems are remarks.
        """
        problems = (
            self.missing_splits,
            self.unreadable_pictures,
            self.unreadable_crops,
            self.skipped_lines,
        )
        return not any(problems)

    def to_dict(self) -> dict[str, object]:
        """Convert to plain values for JSON, ``ok`` included."""
        return {"ok": self.ok, **asdict(self)}


def check_corpus(corpus: Corpus, max_pixels: int = MAX_PIXELS) -> CorpusReport:
    """Check a corpus for problems that make results wrong or hard to compare.

    Args:
        corpus: The corpus. With ``strict=False`` its malformed lines are part of the report.
        max_pixels: A picture with more pixels counts as unreadable.

    Raises:
        CorpusError: A line is malformed and the corpus is strict.
    """
    posts = {split: corpus.posts(split) for split in corpus.splits}
    edition = find_edition(corpus)
    report = CorpusReport(corpus.name, edition.name, edition.notes)
    report.missing_splits = [split for split in SPLITS if split not in posts]
    _check_pictures(report, corpus, posts, max_pixels)
    report.shared_posts = _shared_posts(posts)
    for split in posts:
        if corpus.skipped.get(split):
            report.skipped_lines[split] = corpus.skipped[split]
    report.label_problems = _label_problems(corpus, posts)
    return report


def render_report(report: CorpusReport) -> RenderableType:
    """Render the report for a terminal, with long lists shortened."""
    lines = [f"{report.name}: {report.edition}"]
    lines += [f"  {note}" for note in report.edition_notes]
    lines += [f"{split}: no text file" for split in report.missing_splits]
    lines += _audit_lines(f"of {report.pictures} pictures unreadable", report.unreadable_pictures)
    lines += _audit_lines(f"of {report.crops} crops unreadable", report.unreadable_crops)
    lines += _placeholder_lines(report.placeholders)
    lines += _shared_lines("texts in two splits", report.shared_posts)
    lines += _shared_lines("pictures in two splits", report.shared_pictures)
    lines += _list_lines("skipped lines", list(chain(*report.skipped_lines.values())))
    lines += _list_lines("label problems", report.label_problems)
    verdict = Text("ok", "green")
    if not report.ok:
        verdict = Text("something is missing or broken", "red")
    return Group(*lines, verdict)


def _check_pictures(report: CorpusReport, corpus: Corpus, posts: _Posts, max_pixels: int) -> None:
    """Add unreadable pictures and crops, placeholders and shared pictures to a report."""
    all_posts = list(chain(*posts.values()))
    pictures = named_pictures(all_posts)
    crops = list(dict.fromkeys(chain(*(post.crops for post in all_posts))))
    unreadable = check_videos(audit_pictures([*pictures, *crops], max_pixels), max_pixels)
    contents = _content_keys([path for path in pictures if path not in unreadable])
    report.pictures = len(pictures)
    report.unreadable_pictures = _reasons(corpus, pictures, unreadable)
    report.crops = len(crops)
    report.unreadable_crops = _reasons(corpus, crops, unreadable)
    report.placeholders = _placeholders(contents)
    report.shared_pictures = _shared_pictures(posts, contents)


def _reasons(
    corpus: Corpus, paths: Iterable[Path], unreadable: Mapping[Path, str]
) -> dict[str, str]:
    """Return the reasons why some of the pictures cannot be read, by file or by row."""
    return {
        corpus.row_of_picture(path) or str(path): unreadable[path]
        for path in paths
        if path in unreadable
    }


def _content_keys(pictures: Iterable[Path]) -> dict[Path, str]:
    """Compute a key for every picture such that equal contents have equal keys.

    Only files whose size occurs twice are read.
    """
    by_size: defaultdict[int, list[Path]] = defaultdict(list)
    for path in pictures:
        by_size[path.stat().st_size].append(path)
    keys: dict[Path, str] = {}
    for paths in by_size.values():
        for path in paths:
            keys[path] = digest_file(path) if len(paths) > 1 else str(path)
    return keys


def _placeholders(contents: Mapping[Path, str]) -> list[list[str]]:
    """Find pictures that have one content under several names.

    Args:
        contents: Key of each picture's content.

    Returns:
        Groups of files, the largest first.
    """
    groups: defaultdict[str, list[Path]] = defaultdict(list)
    for path, content in contents.items():
        groups[content].append(path)
    placeholders: list[list[str]] = []
    for paths in groups.values():
        if len({path.name for path in paths}) >= _PLACEHOLDER_NAMES:
            placeholders.append(list(map(str, paths)))
    return sorted(placeholders, key=len, reverse=True)


def _shared_posts(posts: _Posts) -> list[dict[Split, str]]:
    """Find texts that occur in two splits.

    Returns:
        For each text the first id in each of its splits.
    """
    texts = _Occurrences()
    for split in posts:
        for post in posts[split]:
            texts.add(post.words, split, post.id)
    return texts.shared()


def _shared_pictures(posts: _Posts, contents: Mapping[Path, str]) -> list[dict[Split, str]]:
    """Find pictures that occur in two splits under one name or with one content.

    Args:
        posts: Posts by split.
        contents: Key of each readable picture's content.

    Returns:
        For each picture the first file name in each of its splits.
    """
    names = _Occurrences()
    keys = _Occurrences()
    for split in posts:
        for path in named_pictures(posts[split]):
            names.add(path.name, split, path.name)
            if path in contents:
                keys.add(contents[path], split, path.name)
    by_name = names.shared()
    by_content = [shared for shared in keys.shared() if shared not in by_name]
    return by_name + by_content


class _Occurrences:
    """First name by split of things that may occur in several splits."""

    def __init__(self) -> None:
        self._names: defaultdict[Hashable, dict[Split, str]] = defaultdict(dict)

    def add(self, key: Hashable, split: Split, name: str) -> None:
        """Record that a thing occurs in a split under a name."""
        self._names[key].setdefault(split, name)

    def shared(self) -> list[dict[Split, str]]:
        """Return the names, by split, of things that occur in two splits."""
        return [names for names in self._names.values() if len(names) > 1]


def _label_problems(corpus: Corpus, posts: _Posts) -> list[str]:
    """List labels that are unknown to the corpus, or that no training post has."""
    known = {*corpus.entity_types, *corpus.relation_labels} - {NO_RELATION}
    problems: list[str] = []
    for split in posts:
        for label, count in sorted(_count_labels(posts[split]).items()):
            if label not in known:
                problems.append(f"{split}: {label}, {count} times, is no label of the corpus")
    if "train" in posts:
        untrained = known.difference(_count_labels(posts["train"]))
        problems += [f"train: {label} does not occur" for label in sorted(untrained)]
    return problems


def _count_labels(posts: Sequence[Post]) -> Counter[str]:
    """Count entity types and relation labels, ``None`` left out."""
    labels = count_relation_labels(posts)
    labels.pop(NO_RELATION, None)
    return count_entity_types(posts) + labels


def _audit_lines(title: str, unreadable: Mapping[str, str]) -> list[str]:
    """Render the number of unreadable files by reason, and list the first ones."""
    counts = Counter(unreadable.values()).most_common()
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts)
    files = [f"{file}: {reason}" for file, reason in unreadable.items()]
    return _list_lines(f"{title} ({reasons})", files)


def _placeholder_lines(placeholders: Iterable[Sequence[str]]) -> list[str]:
    """Render groups of files with one content: their number and the first names."""
    groups: list[str] = []
    for files in placeholders:
        names = ", ".join(Path(file).name for file in files[:_MAX_LISTED])
        groups.append(f"{len(files)} times: {names}")
    return _list_lines("suspected placeholder pictures", groups)


def _shared_lines(title: str, shared: Iterable[Mapping[Split, str]]) -> list[str]:
    """Render texts or pictures that occur in two splits with their names there."""
    items: list[str] = []
    for names in shared:
        items.append(", ".join(f"{split} {name}" for split, name in names.items()))
    return _list_lines(title, items)


def _list_lines(title: str, items: Sequence[str]) -> list[str]:
    """Render the number of items and list the first ones, or render nothing if there are none."""
    if not items:
        return []
    lines = [f"{len(items)} {title}:"]
    lines += [f"  {item}" for item in items[:_MAX_LISTED]]
    if len(items) > _MAX_LISTED:
        lines.append(f"  ... and {len(items) - _MAX_LISTED} more")
    return lines
