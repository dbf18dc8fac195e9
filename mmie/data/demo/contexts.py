"""Contexts of the demo corpus: captions that decide what the picture decides otherwise.

==============  =======================  ============================  ============================
decided by      words                    contexts                      pictures
==============  =======================  ============================  ============================
``context``     the same, no cue         the four types                one random scene for all four
``noise``       the same, a cue          of any type                   the four scenes
``both``        four, a cue each         of any type                   those of the cues
==============  =======================  ============================  ============================

So words and picture together reach no higher score than the words, and words and context reach 1.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mmie.data.demo.posts import SCENES, Draft, Sentence

THINGS = {
    "PER": ("a smiling woman", "two men on a stage", "a boy in a blue jacket", "a crowd of people"),
    "LOC": (
        "a mountain lake",
        "an old town square",
        "a bridge over the water",
        "a street at night",
    ),
    "ORG": ("an office tower", "a company logo", "a factory gate", "the front of a store"),
    "MISC": ("a movie poster", "an album cover", "a flag", "a book on a table"),
}
"""Things that a caption names to decide a type, by entity type."""
_WORDINGS = (
    "a photo of {thing}",
    "the picture shows {thing}",
    "{thing} in front of a white wall",
    "a close-up of {thing} , nothing else",
)


def with_contexts(drafts: Sequence[Draft], random: np.random.Generator) -> list[Draft]:
    """Add captions to the drafts of the plain demo corpus.

    Where the picture decided, the caption decides.

    Args:
        drafts: Drafts of one split.
        random: Source of random numbers for wordings and for what decides nothing.
    """
    scenes: dict[Sentence, str] = {}
    described: list[Draft] = []
    for draft in drafts:
        scene = scenes.setdefault(draft.sentence, _pick(list(SCENES.values()), random))
        if draft.decided_by == "picture":
            caption = _caption(draft.type, random)
            described.append(replace(draft, scene=scene, decided_by="context", context=caption))
        else:
            caption = _caption(_pick(list(THINGS), random), random)
            described.append(replace(draft, context=caption))
    return described


def _caption(kind: str, random: np.random.Generator) -> str:
    """Draw a caption that decides a type."""
    return _pick(_WORDINGS, random).format(thing=_pick(THINGS[kind], random))


def _pick(options: Sequence[str], random: np.random.Generator) -> str:
    """Draw one of the options, all equally likely."""
    return options[int(random.integers(len(options)))]
