"""Editions of the published corpora, found by the hash of their text files or by their counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mmie.data.corpora.base import Corpus, FileCorpus, count_relation_labels
from mmie.data.corpora.jsonl import JsonlCorpus
from mmie.data.corpora.mnre import VERSION_2_LABELS
from mmie.types import NO_RELATION, Split
from mmie.utils.files import digest_file

_Counts = dict[str, int]

UNKNOWN = "unknown edition"
TWITTER_2015 = "Twitter-2015, original labels"
TWITTER_2015_EDITED = "Twitter-2015, edited labels (as HVPNet's authors published)"
TWITTER_2017 = "Twitter-2017"
MNRE_1 = "MNRE, version 1"
MNRE_2 = "MNRE, version 2"
OWN_LAYOUT = "JSON lines: no published corpus"
OWN_TABLES = "rows of tables: no published corpus"

TEXT_HASHES: dict[str, tuple[str, Split]] = {
    "a6246e37aa1c8acd738747fa8257e01775f2a1cc0d4f36f82f9d41d6246ad6fa": (TWITTER_2015, "train"),
    "9dcc7f9df7331de3c9cdf67a3450e041c41c6254b5e43925c576e2dfaaabe2ad": (TWITTER_2015, "valid"),
    "edb2665b89bfe58bca06a2c10b9b31cbfa95456135b6a4cbf55c872e48d9b8f9": (TWITTER_2015, "test"),
    "801e149e8635b19d66b4ec1212c329be340ada501b35c5fa55455fb6f53633be": (TWITTER_2017, "train"),
    "41b5db90cb32059c14c2c3ccd50845fb77f1e3d3e4f7d0c210a61bc507d8a73e": (TWITTER_2017, "valid"),
    "a7d9e172ae85bd3e35276eb2b01ce223321bdc92a47b234e24305d72e7a05243": (TWITTER_2017, "test"),
    "1cc34438a00e2a2db73e4eba297820f926f62abd1fddc693caa13c58b62428b7": (MNRE_2, "train"),
    "c76865179b5678167b164c21fd25ed31f9a1416da393ac93ce70f32b00352b75": (MNRE_2, "valid"),
    "f53c2f9b7739bea7d08aee4a91bfd6ec7432e1d0eeb83debf10f5d3291bc5215": (MNRE_2, "test"),
}
"""Editions and splits of known text files by their SHA-256.

Those of Twitter-2015 are the labels that UMT's authors distribute. Read as conlleval reads them,
their test split holds 1873 PER, 1720 LOC, 860 ORG and 754 MISC entities, the numbers that users of
UMT's code report.
"""


def _ner_counts(posts: int, words: int, per: int, loc: int, org: int, misc: int) -> _Counts:
    """Name the counts of an NER split."""
    return {"posts": posts, "words": words, "PER": per, "LOC": loc, "ORG": org, "MISC": misc}


KNOWN_COUNTS: dict[str, dict[Split, _Counts]] = {
    TWITTER_2015: {
        "train": _ner_counts(4000, 64439, 2217, 2091, 927, 931),
        "valid": _ner_counts(1000, 16178, 552, 522, 247, 220),
        "test": _ner_counts(3257, 52822, 1816, 1697, 839, 720),
    },
    TWITTER_2017: {
        "train": _ner_counts(3373, 53007, 2943, 731, 1674, 701),
        "valid": _ner_counts(723, 11309, 626, 173, 375, 150),
        "test": _ner_counts(723, 11330, 621, 178, 395, 157),
    },
    MNRE_2: {
        "train": {"posts": 12247, "pictures": 7356, "None": 7744},
        "valid": {"posts": 1624, "pictures": 931, "None": 1000},
        "test": {"posts": 1614, "pictures": 914, "None": 974},
    },
}
"""Counts of the known files: ``B-`` tags by type, distinct pictures, instances without relation."""

_PUBLISHED_2015: dict[Split, _Counts] = {
    "train": {"ORG": 928, "MISC": 940},
    "valid": {"MISC": 225},
    "test": {"MISC": 726},
}
"""Counts of the papers' table of Twitter-2015 that differ from the original files' ``B-`` tags.

The difference lies in the files, not in the reading. ``I-`` tags without a ``B-`` do not explain
it: counted as entities (as this package and the papers' scores do) they add 44, 13 and 34 to MISC
where 9, 5 and 6 are missing, and 30 to the ORG of the training split where 1 is missing.
"""
_BY_NAME = {"twitter2015": TWITTER_2015, "twitter2017": TWITTER_2017, "mnre": MNRE_2}
"""Expected editions by the name of the corpus."""


@dataclass(frozen=True)
class Edition:
    """Edition of a corpus.

    Attributes:
        name: One of the names above.
        notes: How it was recognised, and how its counts differ from those expected.
    """

    name: str
    notes: list[str] = field(default_factory=list)


def find_edition(corpus: Corpus) -> Edition:
    """Find the edition of a corpus.

    Files that are known byte for byte are recognised by their hash. Others are compared by their
    counts with the edition that the corpus's class stands for. Equal counts are the same edition in
    other bytes (line ends, spelling of ``MISC``), equally many posts with other labels are
    Twitter-2015 as edited, and more than 23 relations are MNRE's version 1.
    """
    if isinstance(corpus, JsonlCorpus):
        return Edition(OWN_LAYOUT, [corpus.note] if corpus.note else [])
    if not isinstance(corpus, FileCorpus):
        return Edition(OWN_TABLES)
    published: dict[Split, Split] = {}
    names: set[str] = set()
    for split in corpus.splits:
        digest = digest_file(corpus.text_file(split))
        name, published[split] = TEXT_HASHES.get(digest, (UNKNOWN, split))
        names.add(name)
    if len(names) > 1 or UNKNOWN in names:
        return _edition_by_counts(corpus)
    return _edition_by_hash(corpus, names.pop(), published)


def _edition_by_hash(corpus: Corpus, name: str, published: Mapping[Split, Split]) -> Edition:
    """Describe an edition whose files are known byte for byte.

    Args:
        corpus: The corpus.
        name: Name of the edition.
        published: Published split of each split's file.
    """
    notes = ["by the hash of its text files"]
    for split, published_split in published.items():
        if published_split != split:
            notes.append(f"its {split} split is the published {published_split} split")
    if name != _BY_NAME.get(corpus.name):
        notes.append(f"but it is read as {corpus.name}")
    if name == TWITTER_2015:
        notes += _published_differences(corpus)
    return Edition(name, notes)


def _edition_by_counts(corpus: Corpus) -> Edition:
    """Find the edition of files whose hash is not known."""
    expected = _BY_NAME.get(corpus.name)
    if expected is None:
        return Edition(UNKNOWN, [f"nothing is known of a corpus {corpus.name}"])
    counts = {split: _count(corpus, split) for split in corpus.splits}
    known = KNOWN_COUNTS[expected]
    differences = _differences(counts, known)
    num_relations = _count_relations(corpus)
    if num_relations > len(VERSION_2_LABELS):
        note = f"by its {num_relations} relations; version 2 has {len(VERSION_2_LABELS)}"
        return Edition(MNRE_1, [note])
    if not differences:
        note = "by its counts; its text files differ in their bytes from the known ones"
        return Edition(expected, [note])
    has_known_posts = all(counts[split]["posts"] == known[split]["posts"] for split in counts)
    if expected == TWITTER_2015 and has_known_posts:
        note = "by its counts: the posts of the original, other labels"
        return Edition(TWITTER_2015_EDITED, [note, *differences])
    return Edition(UNKNOWN, differences)


def _count(corpus: Corpus, split: Split) -> _Counts:
    """Count what `KNOWN_COUNTS` lists."""
    posts = corpus.posts(split)
    return {
        "posts": len(posts),
        "words": sum(len(post.words) for post in posts),
        "pictures": len({post.image for post in posts if post.image is not None}),
        NO_RELATION: count_relation_labels(posts)[NO_RELATION],
        **corpus.published_counts(split),
    }


def _count_relations(corpus: Corpus) -> int:
    """Count the distinct relation labels of a corpus, used or listed."""
    labels = set(corpus.relation_labels)
    for split in corpus.splits:
        labels.update(count_relation_labels(corpus.posts(split)))
    return len(labels)


def _differences(counts: Mapping[Split, _Counts], known: Mapping[Split, _Counts]) -> list[str]:
    """List the counts that differ from the known ones, a line each."""
    lines: list[str] = []
    for split in counts:
        for name, expected in known[split].items():
            count = counts[split].get(name, 0)
            if count != expected:
                lines.append(f"{split}: {count} {name}, {expected} in the known files")
    return lines


def _published_differences(corpus: Corpus) -> list[str]:
    """List how the original files differ from the table that the papers print."""
    lines: list[str] = []
    for split in corpus.splits:
        tags = corpus.published_counts(split)
        for kind, number in _PUBLISHED_2015[split].items():
            lines.append(
                f"{split}: {tags.get(kind, 0)} B-{kind} tags where the papers print "
                f"{number} entities"
            )
    return lines
