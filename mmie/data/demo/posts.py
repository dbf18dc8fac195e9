"""What the posts of the demo corpus say, and what decides their labels.

Every post names two things of one type, ``Jordan and Amazon``, by words that are persons, places, organisations or
something else equally often. Their type makes their relation: two persons are peers, of two places one contains the
other, and so on. So one scene, or one cue in the text, decides the whole post, for NER and RE alike. Posts come in
groups of four:

==============  =================  ====================  =================================
decided by      words              pictures              labels
==============  =================  ====================  =================================
``picture``     the same, no cue   the four scenes       those of the picture
``noise``       the same, a cue    the four scenes       those of the cue, all the same
``both``        four, a cue each   those of the cues     those of the cues
==============  =================  ====================  =================================

A cue (``my friends``, ``shares of``) gives the type away; a third of the posts with a cue say ``unrelated to`` between
the names, and their relation is ``None``. No sentence occurs in two groups, hence none in two splits.
`mmie.data.demo.contexts` makes of them the posts of the variant in which a context decides.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mmie.data.demo.scenes import KINDS
from mmie.types import NO_RELATION

DecidedBy = Literal["picture", "context", "both", "noise"]

LABELS = {
    "PER": "/per/per/peer",
    "LOC": "/loc/loc/contain",
    "ORG": "/org/org/subsidiary",
    "MISC": "/misc/misc/part_of",
}
"""Entity types, and the relation between two things of that type."""
SCENES = dict(zip(LABELS, KINDS, strict=True))
"""Entity types, and the kind of scene that shows them."""
GROUP = len(LABELS)

_BOTH = 0.1
_CUES = {
    "PER": ("my friends", "the singers"),
    "LOC": ("the cities of", "a train between"),
    "ORG": ("shares of", "the companies"),
    "MISC": ("the movies", "two albums ,"),
}
_LINKS = ("and", "with", "x")
_UNRELATED = "unrelated to"
_NAMES = (
    "Amazon",
    "Apollo",
    "Austin",
    "Carolina",
    "Chelsea",
    "Dakota",
    "Delta",
    "Disney",
    "Florence",
    "Ford",
    "Georgia",
    "Golden Gate",
    "Jordan",
    "Lincoln",
    "Madison",
    "North West",
    "Orlando",
    "Paris",
    "Phoenix",
    "Red River",
    "Santa Rosa",
    "Sydney",
    "Victoria",
    "Washington",
)
_TEMPLATES = (
    "{cue} {head} {link} {tail} tonight !",
    "so proud of {cue} {head} {link} {tail}",
    "{cue} {head} {link} {tail} : this is what we waited for all year",
    "RT @newsdesk : everybody talks about {cue} {head} {link} {tail} again",
    "look what we found , {cue} {head} {link} {tail} in one picture #weekend",
    "can't believe it \u2764 \ufe0f {cue} {head} {link} {tail} !",  # a heart, and the variation selector behind it
    "just saw {cue} # {head} {link} # {tail} \U0001f602",
    "who would have thought that {cue} {head} {link} {tail} are in the news today",
)
_TRIES = 1000


@dataclass(frozen=True, slots=True)
class Sentence:
    """Words that name two things, and the first and last (exclusive) word of either."""

    words: tuple[str, ...]
    head: tuple[int, int]
    tail: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Draft:
    """A post before its picture is drawn.

    Attributes:
        sentence: What it says.
        type: Type of both things it names.
        related: Whether they are related.
        scene: Kind of the scene that the picture shows.
        decided_by: What gives type and relation away.
        context: Caption; None in the plain demo corpus.
    """

    sentence: Sentence
    type: str
    related: bool
    scene: str
    decided_by: DecidedBy
    context: str | None = None

    @property
    def relation(self) -> str:
        """The relation's label."""
        return LABELS[self.type] if self.related else NO_RELATION

    @property
    def is_text_decided(self) -> bool:
        """Whether the words alone give type and relation away."""
        return self.decided_by in ("both", "noise")


class Sentences:
    """A source of sentences that never gives one twice.

    Args:
        random: Where names, templates, cues and links are drawn from.
    """

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._given: set[tuple[str, ...]] = set()

    def draw(self, cue_for: str | None = None, related: bool = True) -> Sentence:
        """A new sentence.

        Args:
            cue_for: The type that a cue gives away; None for a sentence without a cue.
            related: Whether the sentence leaves the two names related.

        Raises:
            ValueError: All sentences seem to have been given.
        """
        for _ in range(_TRIES):
            sentence = self._compose(cue_for, related)
            if sentence.words not in self._given:
                self._given.add(sentence.words)
                return sentence
        raise ValueError(f"no new sentence after {len(self._given)} of them: ask for fewer posts")

    def _compose(self, cue_for: str | None, related: bool) -> Sentence:
        """Any sentence."""
        first, second = self._random.choice(len(_NAMES), size=2, replace=False)
        fillings = {
            "{cue}": self._pick(_CUES[cue_for]) if cue_for else "",
            "{head}": _NAMES[first],
            "{link}": self._pick(_LINKS) if related else _UNRELATED,
            "{tail}": _NAMES[second],
        }
        words: list[str] = []
        spans: dict[str, tuple[int, int]] = {}
        for part in self._pick(_TEMPLATES).split():
            filling = fillings.get(part, part).split()
            spans[part] = (len(words), len(words) + len(filling))
            words += filling
        return Sentence(tuple(words), spans["{head}"], spans["{tail}"])

    def _pick(self, options: tuple[str, ...]) -> str:
        """One of the options, all equally likely."""
        return options[self._random.integers(len(options))]


def draft_posts(
    count: int, noise: float, sentences: Sentences, random: np.random.Generator
) -> list[Draft]:
    """Drafts of a split, in random order; a tenth of them decided by both text and picture.

    Args:
        count: Number of posts.
        noise: Share of them whose picture is unrelated.
        sentences: Where sentences come from.
        random: Where the order comes from.

    Raises:
        ValueError: ``count`` is no multiple of four above zero, or ``noise`` is not between 0 and 0.8.
    """
    if count <= 0 or count % GROUP:
        raise ValueError(
            f"a split of {count} posts: expected a multiple of {GROUP} above zero, the size of a group"
        )
    if not 0 <= noise <= 0.8:
        raise ValueError(f"noise is {noise}: expected a share from 0 to 0.8")
    groups = count // GROUP
    noisy, both = round(noise * groups), round(_BOTH * groups)
    drafts = [draft for group in range(noisy) for draft in _noisy_group(group, sentences)]
    drafts += [draft for group in range(both) for draft in _agreeing_group(group, sentences)]
    drafts += [draft for _ in range(groups - noisy - both) for draft in _picture_group(sentences)]
    return [drafts[place] for place in random.permutation(count)]


def _picture_group(sentences: Sentences) -> list[Draft]:
    """One sentence without a cue, with four pictures and their labels."""
    sentence = sentences.draw()
    return [Draft(sentence, kind, True, SCENES[kind], "picture") for kind in LABELS]


def _noisy_group(group: int, sentences: Sentences) -> list[Draft]:
    """One sentence with a cue, with four pictures that change nothing; types take turns."""
    kind, related = list(LABELS)[group % GROUP], _is_related(group // GROUP)
    sentence = sentences.draw(kind, related)
    return [Draft(sentence, kind, related, scene, "noise") for scene in SCENES.values()]


def _agreeing_group(group: int, sentences: Sentences) -> list[Draft]:
    """Four sentences with cues for the four types, each with the picture that fits."""
    related = _is_related(group)
    return [
        Draft(sentences.draw(kind, related), kind, related, SCENES[kind], "both") for kind in LABELS
    ]


def _is_related(turn: int) -> bool:
    """False in every third turn."""
    return turn % 3 != 1
