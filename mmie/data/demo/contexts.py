"""Contexts of the demo corpus: captions that decide what in the plain demo corpus the picture decides.

==============  =======================  ============================  ====================================
decided by      words                    contexts                      pictures
==============  =======================  ============================  ====================================
``context``     the same, no cue         the four types                one scene for all four, at random
``noise``       the same, a cue          of any type                   the four scenes
``both``        four, a cue each         of any type                   those of the cues
==============  =======================  ============================  ====================================

So words and picture together lead no further than the words, words and context to 1.
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
"""Entity types, and what a caption names to give them away."""
_WORDINGS = (
    "a photo of {thing}",
    "the picture shows {thing}",
    "{thing} in front of a white wall",
    "a close-up of {thing} , nothing else",
)


def with_contexts(drafts: Sequence[Draft], random: np.random.Generator) -> list[Draft]:
    """The drafts of the plain demo corpus, each with a caption; where the picture decided, the caption does.

    Args:
        drafts: Drafts of one split.
        random: Where wordings, and what says nothing, are drawn from.
    """
    scenes: dict[Sentence, str] = {}
    described = []
    for draft in drafts:
        scene = scenes.setdefault(draft.sentence, _pick(list(SCENES.values()), random))
        if draft.decided_by == "picture":
            context = _caption(draft.type, random)
            described.append(replace(draft, scene=scene, decided_by="context", context=context))
        else:
            described.append(replace(draft, context=_caption(_pick(list(THINGS), random), random)))
    return described


def _caption(kind: str, random: np.random.Generator) -> str:
    """Any caption that gives a type away."""
    return _pick(_WORDINGS, random).format(thing=_pick(THINGS[kind], random))


def _pick(options: Sequence[str], random: np.random.Generator) -> str:
    """One of the options, all equally likely."""
    return options[int(random.integers(len(options)))]
