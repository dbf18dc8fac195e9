"""Extractions that tests share, the relations of their graph, and an extractor that stops."""

from typing import Any

from mmie.data.words import split_words
from mmie.types import Extraction, Mention, Triple

HOSTILE_TEXTS = (
    "say \"no\" \\ to 'it'",
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]> &amp; <b>",
    "\N{RIGHT-TO-LEFT OVERRIDE}שלום\N{ZERO WIDTH JOINER}",
    "a\0b\x0bc\x1bd\ufffee",
    "lone \ud800 surrogate",
    "{{ 7 * 7 }} ${x} %2F a/b#c?d",
    "line\r\nbreak\u2028here",
    "İstanbul ß \N{GRINNING FACE}",
)


def make_extraction(name, entities, relations=(), problems=()) -> Extraction:
    """Make an extraction whose text consists of its mentions.

    Args:
        name: Id of the post.
        entities: (text, type, probability) of each mention.
        relations: (head, label, tail, probability) of each triple; head and tail are indices of
            mentions.
        problems: Problems of the post.
    """
    mentions, text = [], ""
    for words, entity_type, probability in entities:
        start, end = len(text), len(text) + len(words)
        mentions.append(Mention(words, entity_type, start, end, probability))
        text += words + " "
    triples = [
        Triple(mentions[head], label, mentions[tail], probability)
        for head, label, tail, probability in relations
    ]
    offsets = tuple((start, end) for _, start, end in split_words(text))
    return Extraction(name, text, offsets, tuple(mentions), tuple(triples), tuple(problems))


def edges_by_text(graph) -> dict[tuple[str, ...], dict[str, Any]]:
    """Map text and type of head and tail, and the label, to the values of each edge of a graph."""
    edges = {}
    for head, tail, values in graph.edges(data=True):
        source, target = graph.nodes[head], graph.nodes[tail]
        key = source["text"], source["type"], target["text"], target["type"], values["label"]
        edges[key] = values
    return edges


class Killed(Exception):
    """Stands for the end of a process."""


class MortalExtractor:
    """An extractor that raises after some posts, and records the ids of those it was given."""

    def __init__(self, extractor, lifetime):
        self.extractor = extractor
        self.window = extractor.window
        self.lifetime = lifetime
        self.received = []

    def stream(self, posts):
        def recorded():
            for post in posts:
                self.received.append(post.id)
                yield post

        for number, extraction in enumerate(self.extractor.stream(recorded())):
            if number == self.lifetime:
                raise Killed
            yield extraction
