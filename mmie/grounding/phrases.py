"""Sources of the phrases to look for in a post's picture: noun phrases, word runs, or entities.

Noun phrases come from NLTK's chunker over the tags of TextBlob's tagger. The tagger's lexicon and
rules (those of the Pattern library) are files of its package, so that the extra ``ground`` is
enough. SpaCy's noun chunks and NLTK's own tagger need models that no package registry holds. Any
function from a post to its phrases can replace the functions here.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby
from typing import Any, Literal

from mmie.grounding.errors import GroundingError
from mmie.types import Post
from mmie.utils.optional import MissingPackageError, require

PhraseSource = Callable[[Post], list[str]]
PhraseKind = Literal["nouns", "words", "entities"]
MAX_PHRASES = 16
"""Most phrases of a post; so many fit Grounding DINO's 256 tokens with room to spare."""
_GRAMMAR = "NP: {<JJ.*|VBN|CD>*<NN.*>+}"
"""A noun phrase: consecutive nouns, and the adjectives, participles and numbers before them."""
_MAX_RUN = 3
"""Most words of a word run."""
_LINK = re.compile(r"(?:https?:|www\.)\S*", re.IGNORECASE)
_HASHTAG_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")
_FUNCTION_WORDS = """
a about above after again all almost also although always am amp an and another any are aren as at
away back be because been before being below between both but by came can could couldn d did didn do
does doesn doing don down during each else enough even ever every few for from get gets go goes
going gone gonna got had hadn has hasn have haven having he hello her here hers herself hey hi him
himself his how i if im in into is isn it its itself just let lets like ll lol m make makes many may
me might mine more most much must my myself need never no nor not now of off oh ok on once one only
or other our ours out over own please put re really rt s said same say says see shall she should
shouldn since so some still such t take than thank thanks that the their theirs them themselves then
there these they thing things this those though through to today tomorrow tonight too u under until
up upon ur us ve very via want was wasn we well went were weren what when where whether which while
who whom whose why will with without won would wouldn wow yeah yes yesterday yet you your yours
yourself
"""
"""English words that name nothing visible, and the parts that split contractions leave."""
_FUNCTION_WORD_SET = frozenset(_FUNCTION_WORDS.split())


def word_phrases(post: Post) -> list[str]:
    """Extract runs of content words, as RAKE extracts its candidates.

    Function words, punctuation, links, mentions and words without letters end a run; so does a
    change between capitalised and lower-case words, which separates a name from its description.
    Hashtags are split at their capitals and are runs of their own. Capitalised runs come first.

    Source: Rose et al., Automatic Keyword Extraction from Individual Documents, in Text Mining,
    2010.
    """
    runs: list[str] = []
    for segment in _segments(post.words):
        runs.extend(_word_runs(segment))
    return _distinct(sorted(runs, key=lambda run: not run[0].isupper()))


def noun_phrases(post: Post) -> list[str]:
    """Extract the noun phrases of a post, whose hashtags are split at their capitals.

    Raises:
        GroundingError: NLTK or TextBlob is not installed.
    """
    tagger, chunker = _noun_tools()
    phrases = []
    for segment in _segments(post.words):
        tags = tagger.tag(" ".join(segment), tokenize=False)
        if not tags:
            continue
        for chunk in chunker.parse(tags).subtrees(lambda tree: tree.label() == "NP"):
            words = [word for word, _ in chunk.leaves() if _is_content_word(word)]
            phrases.append(" ".join(words))
    return _distinct(phrases)


def entity_phrases(post: Post) -> list[str]:
    """Extract the heads and tails of a post's relations, the queries for MNRE."""
    phrases = []
    for relation in post.relations:
        for entity in (relation.head, relation.tail):
            phrases.append(" ".join(post.words[entity.start : entity.end]))
    return _distinct(phrases)


def no_phrases(post: Post) -> list[str]:
    """Return no phrases, for detectors that read none."""
    return []


def phrase_source(kind: PhraseKind) -> PhraseSource:
    """Return a source of phrases: ``nouns``, ``words`` (which needs no package) or ``entities``."""
    sources: dict[PhraseKind, PhraseSource] = {
        "nouns": noun_phrases,
        "words": word_phrases,
        "entities": entity_phrases,
    }
    return sources[kind]


@cache
def _noun_tools() -> tuple[Any, Any]:
    """Build the tagger and the chunker.

    Raises:
        GroundingError: NLTK or TextBlob is not installed.
    """
    try:
        tagger = require("textblob.en.taggers", "ground").PatternTagger()
        chunker = require("nltk.chunk.regexp", "ground").RegexpParser(_GRAMMAR)
    except MissingPackageError as error:
        raise GroundingError(
            f"noun phrases: {error}, or look for words in place of nouns"
        ) from error
    return tagger, chunker


def _segments(words: Sequence[str]) -> Iterator[list[str]]:
    """Yield the words between links, mentions and hashtags, and the words of each hashtag."""
    segment: list[str] = []
    for token in _join_signs(" ".join(words).split()):
        if token[0] not in "@#" and not _LINK.match(token):
            segment.append(token)
            continue
        if segment:
            yield segment
        segment = []
        if token[0] == "#":
            hashtag_words = _HASHTAG_WORD.findall(token)
            if hashtag_words:
                yield hashtag_words
    if segment:
        yield segment


def _join_signs(words: Sequence[str]) -> Iterator[str]:
    """Yield words, with a separate ``@`` or ``#`` joined to the word after it."""
    sign = ""
    for word in words:
        if word in ("@", "#"):
            sign = word
            continue
        yield sign + word
        sign = ""


def _word_runs(words: Sequence[str]) -> Iterator[str]:
    """Yield runs of content words of the same case, of at most `_MAX_RUN` words each."""
    for kind, group in groupby(words, key=_word_kind):
        if kind == "break":
            continue
        run = list(group)
        for start in range(0, len(run), _MAX_RUN):
            yield " ".join(run[start : start + _MAX_RUN])


def _word_kind(word: str) -> Literal["break", "capitalised", "other"]:
    """Classify a word: a ``break`` ends a run, the others form runs with words of their kind."""
    if not _is_content_word(word):
        return "break"
    return "capitalised" if word[0].isupper() else "other"


def _is_content_word(word: str) -> bool:
    """Tell whether a word has letters and is no function word."""
    return any(char.isalpha() for char in word) and word.lower() not in _FUNCTION_WORD_SET


def _distinct(phrases: Iterable[str]) -> list[str]:
    """Drop empty phrases, repetitions in another case, and all phrases after `MAX_PHRASES`."""
    distinct: dict[str, str] = {}
    for phrase in phrases:
        if phrase:
            distinct.setdefault(phrase.lower(), phrase)
    return list(distinct.values())[:MAX_PHRASES]
