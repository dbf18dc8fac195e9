"""Texts of the demo corpus's posts, and what decides their labels.

Every post names two things of one type, ``Jordan and Amazon``, by words that are persons, places,
organisations or something else equally often. Their type makes their relation: two persons are
peers, of two places one contains the other, and so on. So one scene, or one cue in the text,
decides the whole post, for NER and RE alike. Posts come in groups of four:

==============  =================  ====================  =================================
decided by      words              pictures              labels
==============  =================  ====================  =================================
``picture``     the same, no cue   the four scenes       those of the picture
``noise``       the same, a cue    the four scenes       those of the cue, all the same
``both``        four, a cue each   those of the cues     those of the cues
==============  =================  ====================  =================================

A cue (``my friends``, ``shares of``) decides the type. A third of the posts with a cue have
``unrelated to`` between the names, and their relation is ``None``. No sentence occurs in two
groups, hence none in two splits. `mmie.data.demo.contexts` turns them into the posts of the variant
in which a context decides.
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
"""Relations between two things of a type, by entity type."""
SCENES = dict(zip(LABELS, KINDS, strict=True))
"""Kinds of scenes by the entity type that they show."""
GROUP = len(LABELS)
"""Number of posts in a group."""

BOTH_SHARE = 0.1
"""Share of posts that both text and picture decide, by default."""
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
    # a heart and the variation selector after it
    "can't believe it \u2764 \ufe0f {cue} {head} {link} {tail} !",
    "just saw {cue} # {head} {link} # {tail} \U0001f602",
    "who would have thought that {cue} {head} {link} {tail} are in the news today",
)
_MAX_TRIES = 1000
"""Sentences that are composed to find a new one."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """Words that name two things, and the first and last (exclusive) word of each."""

    words: tuple[str, ...]
    head: tuple[int, int]
    tail: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Draft:
    """A post before its picture is drawn.

    Attributes:
        sentence: Its words.
        type: Type of both things that it names.
        related: Whether they are related.
        scene: Kind of the scene that the picture shows.
        decided_by: What decides type and relation.
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
        """Label of the relation."""
        return LABELS[self.type] if self.related else NO_RELATION

    @property
    def text(self) -> str:
        """Words of the post and of its caption."""
        return " ".join([*self.sentence.words, self.context or ""])

    @property
    def is_text_decided(self) -> bool:
        """Whether the words alone decide type and relation."""
        return self.decided_by in ("both", "noise")


class Sentences:
    """Source of distinct sentences.

    Args:
        random: Source of random numbers for names, templates, cues and links.
    """

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._drawn: set[tuple[str, ...]] = set()

    def draw(self, cue_for: str | None = None, related: bool = True) -> Sentence:
        """Draw a new sentence.

        Args:
            cue_for: Type that a cue decides; None for a sentence without a cue.
            related: Whether the sentence leaves the two names related.

        Raises:
            ValueError: No new sentence was found after many tries.
        """
        for _ in range(_MAX_TRIES):
            sentence = self._compose(cue_for, related)
            if sentence.words not in self._drawn:
                self._drawn.add(sentence.words)
                return sentence
        raise ValueError(f"no new sentence after {len(self._drawn)} of them: ask for fewer posts")

    def _compose(self, cue_for: str | None, related: bool) -> Sentence:
        """Compose a sentence, which may have been drawn before."""
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
        """Draw one of the options, all equally likely."""
        return options[self._random.integers(len(options))]


def draft_posts(
    count: int,
    noise: float,
    sentences: Sentences,
    random: np.random.Generator,
    both: float = BOTH_SHARE,
) -> list[Draft]:
    """Draft the posts of a split in random order.

    Args:
        count: Number of posts.
        noise: Share of posts whose picture is unrelated.
        sentences: Source of sentences.
        random: Source of random numbers for the order.
        both: Share of posts that both text and picture decide.

    Raises:
        ValueError: ``count`` is not a multiple of four above zero, ``noise`` or ``both`` is below
            0, or they add up to more than 1.
    """
    if count <= 0 or count % GROUP:
        raise ValueError(
            f"a split of {count} posts: expected a multiple of {GROUP} above zero, the size of a "
            "group"
        )
    if not 0 <= both <= 1:
        raise ValueError(f"both is {both}: expected a share from 0 to 1")
    if not 0 <= noise <= 1 - both:
        raise ValueError(f"noise is {noise}: expected a share from 0 to {1 - both:g}")
    num_groups = count // GROUP
    num_noisy = round(noise * num_groups)
    num_both = min(round(both * num_groups), num_groups - num_noisy)
    drafts: list[Draft] = []
    for index in range(num_noisy):
        drafts += _noisy_group(index, sentences)
    for index in range(num_both):
        drafts += _agreeing_group(index, sentences)
    for _ in range(num_groups - num_noisy - num_both):
        drafts += _picture_group(sentences)
    return [drafts[index] for index in random.permutation(count)]


def _noisy_group(index: int, sentences: Sentences) -> list[Draft]:
    """Draft one sentence with a cue and four pictures that change nothing.

    The types take turns.
    """
    kind = list(LABELS)[index % GROUP]
    related = _is_related(index // GROUP)
    sentence = sentences.draw(kind, related)
    return [Draft(sentence, kind, related, scene, "noise") for scene in SCENES.values()]


def _agreeing_group(index: int, sentences: Sentences) -> list[Draft]:
    """Draft four sentences with cues for the four types, each with the picture that fits."""
    related = _is_related(index)
    drafts: list[Draft] = []
    for kind, scene in SCENES.items():
        sentence = sentences.draw(kind, related)
        drafts.append(Draft(sentence, kind, related, scene, "both"))
    return drafts


def _picture_group(sentences: Sentences) -> list[Draft]:
    """Draft one sentence without a cue and four pictures that decide its labels."""
    sentence = sentences.draw()
    drafts: list[Draft] = []
    for kind, scene in SCENES.items():
        drafts.append(Draft(sentence, kind, True, scene, "picture"))
    return drafts


def _is_related(turn: int) -> bool:
    """Tell whether the names of a turn are related, which is not so in every third one."""
    return turn % 3 != 1
