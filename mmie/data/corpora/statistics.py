"""Counts of a corpus: posts, words, entities, relations and pictures of each split."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TypedDict

from rich.table import Table

from mmie.data.corpora.base import Corpus, count_entity_types, count_relation_labels
from mmie.data.frame_files import check_videos
from mmie.data.picture_audit import audit_pictures
from mmie.data.pictures import MAX_PIXELS
from mmie.types import Post, Split


class SplitStats(TypedDict):
    """Counts of one split.

    ``entities`` counts all entities by type. ``b_tags`` counts them as the papers' tables do, which
    differs where the files hold an ``I-`` tag without a ``B-``. ``pictures`` counts the distinct
    files that posts name, without crops.
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
    """Name and note of a corpus, and counts of its splits."""

    name: str
    note: str
    splits: dict[Split, SplitStats]


def corpus_stats(corpus: Corpus, max_pixels: int = MAX_PIXELS) -> CorpusStats:
    """Count the content of every split.

    Args:
        corpus: The corpus.
        max_pixels: A picture with more pixels counts as unreadable.

    Raises:
        CorpusError: A line is malformed and the corpus is strict.
    """
    posts = [post for split in corpus.splits for post in corpus.posts(split)]
    unreadable = check_videos(audit_pictures(named_pictures(posts), max_pixels), max_pixels)
    splits = {split: _split_stats(corpus, split, unreadable) for split in corpus.splits}
    return {"name": corpus.name, "note": corpus.note, "splits": splits}


def named_pictures(posts: Iterable[Post]) -> list[Path]:
    """Return the distinct pictures that posts name, without crops."""
    return list(dict.fromkeys(chain.from_iterable(post.images for post in posts)))


def render_stats(stats: CorpusStats) -> Table:
    """Render the counts as a table with a column per split.

    Where ``B-`` tags are fewer than entities, their number follows in brackets.
    """
    kinds: dict[str, None] = {}
    labels: dict[str, None] = {}
    for split in stats["splits"].values():
        kinds.update(dict.fromkeys(split["entities"]))
        labels.update(dict.fromkeys(split["relations"]))
    titles = ["posts", "words", "pictures named", "pictures readable"]
    titles.append("posts without readable picture")
    titles += [f"{kind} entities" for kind in kinds]
    titles += [f"{label} relations" for label in labels]
    columns = [_render_column(split, kinds, labels) for split in stats["splits"].values()]
    table = Table(title=stats["name"], caption=stats["note"])
    table.add_column("")
    for name in stats["splits"]:
        table.add_column(name, justify="right")
    for title, *cells in zip(titles, *columns, strict=True):
        table.add_row(title, *cells)
    return table


def _split_stats(corpus: Corpus, split: Split, unreadable: Mapping[Path, str]) -> SplitStats:
    """Count the content of a split.

    Args:
        corpus: The corpus.
        split: The split.
        unreadable: Pictures that cannot be read.
    """
    posts = corpus.posts(split)
    pictures = named_pictures(posts)
    readable = set(pictures).difference(unreadable)
    return {
        "posts": len(posts),
        "words": sum(len(post.words) for post in posts),
        "entities": _in_order(count_entity_types(posts), corpus.entity_types),
        "b_tags": _in_order(corpus.published_counts(split), corpus.entity_types),
        "relations": _in_order(count_relation_labels(posts), corpus.relation_labels),
        "pictures": len(pictures),
        "pictures_readable": len(readable),
        "posts_without_picture": sum(readable.isdisjoint(post.images) for post in posts),
    }


def _in_order(counts: Mapping[str, int], order: Sequence[str]) -> dict[str, int]:
    """Return the counts of the names in ``order``, 0 included, then those of others, sorted."""
    names = [*order, *sorted(set(counts).difference(order))]
    return {name: counts.get(name, 0) for name in names}


def _render_column(split: SplitStats, kinds: Iterable[str], labels: Iterable[str]) -> list[str]:
    """Render the counts of a split.

    Args:
        split: The split.
        kinds: Entity types of all splits.
        labels: Relation labels of all splits.
    """
    counts = [split["posts"], split["words"], split["pictures"], split["pictures_readable"]]
    cells = [str(count) for count in (*counts, split["posts_without_picture"])]
    for kind in kinds:
        entities = split["entities"].get(kind, 0)
        tags = split["b_tags"].get(kind, 0)
        cell = str(entities)
        if entities != tags:
            cell += f" ({tags} B-)"
        cells.append(cell)
    for label in labels:
        cells.append(str(split["relations"].get(label, 0)))
    return cells
