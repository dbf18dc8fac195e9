"""Which edition of a published corpus the files are: by the hash of their text files, else by their counts."""

from dataclasses import dataclass, field

from mmie.data.corpora.base import Corpus
from mmie.data.corpora.jsonl import JsonlCorpus
from mmie.data.corpora.mnre import VERSION_2_LABELS
from mmie.types import Split
from mmie.utils.files import digest_file

_Counts = dict[str, int]

UNKNOWN = "unknown edition"
TWITTER_2015 = "Twitter-2015, original labels"
TWITTER_2015_EDITED = "Twitter-2015, edited labels (as HVPNet's authors published)"
TWITTER_2017 = "Twitter-2017"
MNRE_1 = "MNRE, version 1"
MNRE_2 = "MNRE, version 2"
OWN_LAYOUT = "JSON lines: no published corpus"

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
"""SHA-256 of the text files that are known, with the edition and split that they are.

Those of Twitter-2015 are the labels that UMT's authors distribute: read as conlleval reads them, their test split holds
1873 PER, 1720 LOC, 860 ORG and 754 MISC entities, the numbers that users of UMT's code report.
"""


def _ner(posts: int, words: int, per: int, loc: int, org: int, misc: int) -> _Counts:
    return {"posts": posts, "words": words, "PER": per, "LOC": loc, "ORG": org, "MISC": misc}


KNOWN_COUNTS: dict[str, dict[Split, _Counts]] = {
    TWITTER_2015: {
        "train": _ner(4000, 64439, 2217, 2091, 927, 931),
        "valid": _ner(1000, 16178, 552, 522, 247, 220),
        "test": _ner(3257, 52822, 1816, 1697, 839, 720),
    },
    TWITTER_2017: {
        "train": _ner(3373, 53007, 2943, 731, 1674, 701),
        "valid": _ner(723, 11309, 626, 173, 375, 150),
        "test": _ner(723, 11330, 621, 178, 395, 157),
    },
    MNRE_2: {
        "train": {"posts": 12247, "pictures": 7356, "None": 7744},
        "valid": {"posts": 1624, "pictures": 931, "None": 1000},
        "test": {"posts": 1614, "pictures": 914, "None": 974},
    },
}
"""Counts of the known files: ``B-`` tags per type, distinct pictures named, instances without a relation."""

_PUBLISHED_2015: dict[Split, _Counts] = {
    "train": {"ORG": 928, "MISC": 940},
    "valid": {"MISC": 225},
    "test": {"MISC": 726},
}
"""Where the papers' table of Twitter-2015 differs from the ``B-`` tags of the original files.

The difference lies in the files, not in the reading. ``I-`` tags that no ``B-`` opens do not explain it: counted as
entities (as this package and the papers' scores do) they add 44, 13 and 34 to MISC where 9, 5 and 6 are missing, and 30
to the ORG of the training split where 1 is.
"""
_BY_NAME = {"twitter2015": TWITTER_2015, "twitter2017": TWITTER_2017, "mnre": MNRE_2}


@dataclass(frozen=True)
class Edition:
    """An edition, and what there is to say about it.

    Attributes:
        name: One of the names above.
        notes: How it was recognised, how its counts differ from those expected.
    """

    name: str
    notes: list[str] = field(default_factory=list)


def find_edition(corpus: Corpus) -> Edition:
    """The edition of a corpus.

    Files that are known byte for byte are named by their hash. Others are compared by their counts with the edition
    that the corpus's class stands for: equal counts are the same edition in other bytes (line ends, spelling of
    ``MISC``); equally many posts with other labels are Twitter-2015 as edited; more than 23 relations are MNRE's
    version 1.
    """
    if isinstance(corpus, JsonlCorpus):
        return Edition(OWN_LAYOUT)
    known = {
        split: TEXT_HASHES.get(digest_file(corpus.text_file(split)), (UNKNOWN, split))
        for split in corpus.splits
    }
    names = {name for name, _ in known.values()}
    if len(names) > 1 or UNKNOWN in names:
        return _by_counts(corpus)
    name = names.pop()
    notes = ["by the hash of its text files"]
    notes += [
        f"its {split} split is the published {real} split"
        for split, (_, real) in known.items()
        if real != split
    ]
    if name != _BY_NAME.get(corpus.name):
        notes.append(f"but it is read as {corpus.name}")
    return Edition(name, notes + (_published_differences(corpus) if name == TWITTER_2015 else []))


def _by_counts(corpus: Corpus) -> Edition:
    """The edition of files that are not known by their hash."""
    expected = _BY_NAME.get(corpus.name)
    if expected is None:
        return Edition(UNKNOWN, [f"nothing is known of a corpus {corpus.name}"])
    counts = {split: _counts(corpus, split) for split in corpus.splits}
    differences = _differences(counts, KNOWN_COUNTS[expected])
    relations = set(corpus.relation_labels)
    relations.update(
        relation.label
        for s in corpus.splits
        for post in corpus.posts(s)
        for relation in post.relations
    )
    if len(relations) > len(VERSION_2_LABELS):
        return Edition(
            MNRE_1, [f"by its {len(relations)} relations; version 2 has {len(VERSION_2_LABELS)}"]
        )
    if not differences:
        return Edition(
            expected, ["by its counts; its text files differ in their bytes from the known ones"]
        )
    if expected == TWITTER_2015 and all(
        counts[s]["posts"] == KNOWN_COUNTS[expected][s]["posts"] for s in counts
    ):
        return Edition(
            TWITTER_2015_EDITED,
            ["by its counts: the posts of the original, other labels", *differences],
        )
    return Edition(UNKNOWN, differences)


def _counts(corpus: Corpus, split: Split) -> _Counts:
    """What `KNOWN_COUNTS` holds, counted."""
    posts = corpus.posts(split)
    return {
        "posts": len(posts),
        "words": sum(len(post.words) for post in posts),
        "pictures": len({post.image for post in posts if post.image is not None}),
        "None": sum(relation.label == "None" for post in posts for relation in post.relations),
        **corpus.published_counts(split),
    }


def _differences(counts: dict[Split, _Counts], known: dict[Split, _Counts]) -> list[str]:
    """One line per count that is not as known."""
    return [
        f"{split}: {counts[split].get(what, 0)} {what}, {number} in the known files"
        for split in counts
        for what, number in known[split].items()
        if counts[split].get(what, 0) != number
    ]


def _published_differences(corpus: Corpus) -> list[str]:
    """How the original files differ from the table that the papers print."""
    return [
        f"{split}: {corpus.published_counts(split).get(kind, 0)} B-{kind} tags where the papers print {number} entities"
        for split in corpus.splits
        for kind, number in _PUBLISHED_2015[split].items()
    ]
