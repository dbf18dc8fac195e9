"""What to look for in a post's picture: noun phrases, runs of words, or the entities of a relation.

Noun phrases come from NLTK's chunker over the tags of TextBlob's tagger, whose lexicon and rules (those of the Pattern
library) are files of the package: ``pip install 'mmie[ground]'`` is all it takes. spaCy's noun chunks and NLTK's own
tagger need models that their makers publish in no package registry, so that they would have to be downloaded from
elsewhere. Any function from a post to its phrases can stand in for the ones here.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib import import_module
from itertools import groupby
from typing import Any, Literal

from mmie.grounding.detection import GroundingError
from mmie.types import Post

PhraseSource = Callable[[Post], list[str]]
PhraseKind = Literal["nouns", "words", "entities"]
MAX_PHRASES = 16
"""Phrases of a post that are looked for: what fits Grounding DINO's 256 tokens with room to spare."""
_GRAMMAR = "NP: {<JJ.*|VBN|CD>*<NN.*>+}"
"""A noun phrase: nouns in a row, with the adjectives, participles and numbers before them."""
_MAX_RUN = 3
_LINK = re.compile(r"(?:https?:|www\.)\S*", re.IGNORECASE)
_HUMP = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")
_FUNCTION_WORDS = """
a about above after again all almost also although always am amp an and another any are aren as at away back be
because been before being below between both but by came can could couldn d did didn do does doesn doing don down
during each else enough even ever every few for from get gets go goes going gone gonna got had hadn has hasn have
haven having he hello her here hers herself hey hi him himself his how i if im in into is isn it its itself just let
lets like ll lol m make makes many may me might mine more most much must my myself need never no nor not now of off
oh ok on once one only or other our ours out over own please put re really rt s said same say says see shall she
should shouldn since so some still such t take than thank thanks that the their theirs them themselves then there
these they thing things this those though through to today tomorrow tonight too u under until up upon ur us ve very
via want was wasn we well went were weren what when where whether which while who whom whose why will with without
won would wouldn wow yeah yes yesterday yet you your yours yourself
"""
"""English words that name nothing to be seen, and what contractions leave when they are split."""
_SILENT = frozenset(_FUNCTION_WORDS.split())


def word_phrases(post: Post) -> list[str]:
    """Runs of words that name something, as RAKE finds its candidates, without any model.

    Function words, punctuation, links, mentions and words without letters end a run; so does a change between
    capitalised and lower-case words, which parts a name from what is said of it. Hashtags are split at their capitals
    and stand alone. Capitalised runs come first.

    Source: Rose et al., Automatic Keyword Extraction from Individual Documents, in Text Mining, 2010.
    """
    runs = [run for piece in _pieces(post.words) for run in _runs(piece)]
    return _tidy(sorted(runs, key=lambda run: not run[0].isupper()))


def noun_phrases(post: Post) -> list[str]:
    """Noun phrases of a post, hashtags split at their capitals.

    Raises:
        GroundingError: NLTK or TextBlob is not installed.
    """
    tagger, chunker = _noun_tools()
    phrases = []
    for piece in _pieces(post.words):
        tags = tagger.tag(" ".join(piece), tokenize=False)
        chunks = chunker.parse(tags).subtrees(lambda tree: tree.label() == "NP") if tags else []
        for chunk in chunks:
            words = [word for word, _ in chunk.leaves()]
            phrases.append(" ".join(word for word in words if _names_something(word)))
    return _tidy(phrases)


def entity_phrases(post: Post) -> list[str]:
    """Heads and tails of a post's relations: the queries of MNRE, where both are given."""
    arguments = [entity for relation in post.relations for entity in (relation.head, relation.tail)]
    return _tidy(" ".join(post.words[entity.start : entity.end]) for entity in arguments)


def phrase_source(kind: PhraseKind) -> PhraseSource:
    """Where phrases come from: ``nouns``, ``words`` (which needs no package) or ``entities``."""
    sources: dict[PhraseKind, PhraseSource] = {
        "nouns": noun_phrases,
        "words": word_phrases,
        "entities": entity_phrases,
    }
    return sources[kind]


@cache
def _noun_tools() -> tuple[Any, Any]:
    """The tagger and the chunker."""
    try:
        tagger = import_module("textblob.en.taggers").PatternTagger()
        return tagger, import_module("nltk.chunk.regexp").RegexpParser(_GRAMMAR)
    except ImportError as error:
        raise GroundingError(
            f"noun phrases need the package {error.name}: pip install 'mmie[ground]', or look for words in its place"
        ) from error


def _pieces(words: Sequence[str]) -> Iterator[list[str]]:
    """Stretches of a post between links, mentions and hashtags, and the words of each hashtag by themselves."""
    stretch: list[str] = []
    tokens = _joined(" ".join(words).split())
    for token in tokens:
        if token[0] not in "@#" and not _LINK.match(token):
            stretch.append(token)
            continue
        yield from [stretch] if stretch else []
        stretch = []
        if token[0] == "#" and (humps := _HUMP.findall(token)):
            yield humps
    if stretch:
        yield stretch


def _joined(words: Sequence[str]) -> Iterator[str]:
    """The words, ``@`` and ``#`` that stand alone joined to the word they belong to."""
    sign = ""
    for word in words:
        if word in ("@", "#"):
            sign = word
            continue
        yield sign + word
        sign = ""


def _runs(words: Sequence[str]) -> Iterator[str]:
    """Runs of words that name something, long ones in parts."""
    for kind, group in groupby(words, key=_kind):
        run = list(group)
        for start in range(0, len(run) if kind else 0, _MAX_RUN):
            yield " ".join(run[start : start + _MAX_RUN])


def _kind(word: str) -> str:
    """What a word is in a run: "" ends it."""
    if not _names_something(word):
        return ""
    return "capitalised" if word[0].isupper() else "other"


def _names_something(word: str) -> bool:
    """Whether a word has letters and is no function word."""
    return any(char.isalpha() for char in word) and word.lower() not in _SILENT


def _tidy(phrases: Iterable[str]) -> list[str]:
    """The phrases in order, each once whatever its case, and no more than a detector can read."""
    distinct: dict[str, str] = {}
    for phrase in filter(None, phrases):
        distinct.setdefault(phrase.lower(), phrase)
    return list(distinct.values())[:MAX_PHRASES]
