"""Extractions from many posts as one graph: entities are nodes, relations are edges.

Mentions are one entity if they have the same type and, up to case and spacing, the same text.
Nothing else links them: ``NYC`` and ``New York`` stay two entities.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from mmie.types import Extraction, Mention, Triple
from mmie.utils.files import atomic_write
from mmie.utils.optional import require

_XML_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Most control characters, lone surrogates, and two code points that are no characters."""


class EntityKey(NamedTuple):
    """Type and name that the mentions of one entity share.

    Attributes:
        type: The entity's type.
        name: Its text, case-folded, with single spaces.
    """

    type: str
    name: str


def build_graph(extractions: Iterable[Extraction], min_probability: float = 0.0) -> Any:
    """Build a ``networkx.MultiDiGraph`` of the entities of posts and the relations between them.

    Nodes are `EntityKey` tuples, with ``text`` (the most frequent spelling), ``type`` and ``count``
    (mentions). Edges have their label as key, and ``label``, ``count`` (triples), ``probability``
    (the best) and ``posts``: the best probability in each post, by the post's id. Characters that
    XML forbids are replaced by U+FFFD everywhere.

    Args:
        extractions: The extractions, which are read once, one at a time.
        min_probability: Smallest probability of mentions, of relations, and of their heads and
            tails.

    Raises:
        MissingPackageError: networkx is not installed.
    """
    graph = require("networkx", "graph").MultiDiGraph()
    spellings: defaultdict[EntityKey, Counter[str]] = defaultdict(Counter)
    for extraction in extractions:
        for mention in _distinct_mentions(extraction):
            if mention.probability >= min_probability:
                spellings[_entity_key(mention)][_clean(mention.text)] += 1
        post = _replace_xml_forbidden(extraction.id)
        for triple in extraction.relations:
            least = min(triple.probability, triple.head.probability, triple.tail.probability)
            if least >= min_probability:
                _add_triple(graph, triple, post)
    for key, texts in spellings.items():
        text, _ = texts.most_common(1)[0]
        graph.add_node(key, text=text, type=key.type, count=texts.total())
    return graph


def write_graphml(
    extractions: Iterable[Extraction], file: str | Path, min_probability: float = 0.0
) -> None:
    """Write the graph of `build_graph` as GraphML, which Gephi, Cytoscape and igraph read.

    Nodes and edges are numbered. The posts of an edge are a JSON object of ids and probabilities,
    since GraphML has no lists.

    Raises:
        MissingPackageError: networkx is not installed.
        OSError: The file cannot be written.
    """
    networkx = require("networkx", "graph")
    graph = build_graph(extractions, min_probability)
    names = {key: f"n{number}" for number, key in enumerate(graph)}
    plain_graph = networkx.MultiDiGraph()
    for key, values in graph.nodes.items():
        plain_graph.add_node(names[key], **values)
    for number, (head, tail, values) in enumerate(graph.edges(data=True)):
        posts = json.dumps(values["posts"], ensure_ascii=False)
        plain_values = {**values, "posts": posts}
        plain_graph.add_edge(names[head], names[tail], f"e{number}", **plain_values)
    atomic_write(Path(file), lambda partial: networkx.write_graphml(plain_graph, partial))


def _distinct_mentions(extraction: Extraction) -> Iterable[Mention]:
    """Return the mentions of a post once each, those that only a relation names included."""
    mentions = dict.fromkeys(extraction.entities)
    for triple in extraction.relations:
        mentions.update(dict.fromkeys([triple.head, triple.tail]))
    return mentions


def _add_triple(graph: Any, triple: Triple, post: str) -> None:
    """Add a triple to the graph as a new edge, or as further evidence of an edge."""
    head, tail = _entity_key(triple.head), _entity_key(triple.tail)
    label = _clean(triple.label)
    if not graph.has_edge(head, tail, label):
        graph.add_edge(head, tail, label, label=label, count=0, probability=0.0, posts={})
    values = graph.edges[head, tail, label]
    values["count"] += 1
    values["probability"] = max(values["probability"], triple.probability)
    values["posts"][post] = max(values["posts"].get(post, 0.0), triple.probability)


def _entity_key(mention: Mention) -> EntityKey:
    """Return the key of the entity that a mention names."""
    return EntityKey(_clean(mention.type), _clean(mention.text).casefold())


def _clean(text: str) -> str:
    """Return a text with single spaces and without characters that XML forbids."""
    return " ".join(_replace_xml_forbidden(text).split())


def _replace_xml_forbidden(text: str) -> str:
    """Replace the characters that XML forbids by U+FFFD."""
    return _XML_FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
