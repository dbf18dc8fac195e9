"""What was found in many posts as one graph: entities are nodes, relations are edges, posts are their evidence.

Mentions are one entity if they have the same type and, in whatever case and spacing, the same text. Nothing else links
them: ``NYC`` and ``New York`` stay two.
"""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from mmie.types import Extraction, Mention, MmieError, Triple
from mmie.utils.files import atomic_write
from mmie.utils.optional import require

BASE = "urn:mmie:"
"""What the names of all resources begin with in RDF, unless the caller has a place of their own."""
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML forbids: most control characters, lone surrogates, and two that are none."""


_IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-\[\]_a-z~]*")


class GraphError(MmieError, ValueError):
    """A graph that cannot be written as asked."""


class EntityKey(NamedTuple):
    """What mentions of one entity share.

    Attributes:
        type: The entity's type.
        name: Its text, case-folded, with single spaces.
    """

    type: str
    name: str


def build_graph(extractions: Iterable[Extraction], min_probability: float = 0.0) -> Any:
    """The entities of posts and the relations between them, as a ``networkx.MultiDiGraph``.

    Nodes are `EntityKey`s, with ``text`` (the commonest spelling), ``type`` and ``count`` (mentions). Edges have their
    label for a key, and ``label``, ``count`` (triples), ``probability`` (the best) and ``posts``: the best probability
    in each post, by its id. Characters that XML forbids become U+FFFD everywhere.

    Args:
        extractions: What was found; read once, one at a time.
        min_probability: Mentions that are less probable are left out, and relations that are, or whose head or tail is.

    Raises:
        MissingPackageError: networkx is not installed.
    """
    graph = require("networkx", "graph").MultiDiGraph()
    spellings: defaultdict[EntityKey, Counter[str]] = defaultdict(Counter)
    for extraction in extractions:
        for mention in _mentions(extraction):
            if mention.probability >= min_probability:
                spellings[_key(mention)][_clean(mention.text)] += 1
        for triple in extraction.relations:
            if (
                min(triple.probability, triple.head.probability, triple.tail.probability)
                >= min_probability
            ):
                _add_triple(graph, triple, _writable(extraction.id))
    for key, spelled in spellings.items():
        graph.add_node(key, text=spelled.most_common(1)[0][0], type=key.type, count=spelled.total())
    return graph


def write_graphml(
    extractions: Iterable[Extraction], file: str | Path, min_probability: float = 0.0
) -> None:
    """Write the graph of `build_graph` as GraphML, for Gephi, Cytoscape, igraph and the like.

    Nodes and edges are numbered. The posts of an edge are a JSON object of ids and probabilities, since GraphML knows
    no lists.

    Raises:
        MissingPackageError: networkx is not installed.
        OSError: The file cannot be written.
    """
    networkx = require("networkx", "graph")
    graph = build_graph(extractions, min_probability)
    names = {key: f"n{number}" for number, key in enumerate(graph)}
    plain = networkx.MultiDiGraph()
    plain.add_nodes_from((names[key], values) for key, values in graph.nodes.items())
    for number, (head, tail, values) in enumerate(graph.edges(data=True)):
        posts = json.dumps(values["posts"], ensure_ascii=False)
        plain.add_edge(names[head], names[tail], f"e{number}", **{**values, "posts": posts})
    atomic_write(Path(file), lambda partial: networkx.write_graphml(plain, partial))


def write_turtle(
    extractions: Iterable[Extraction],
    file: str | Path,
    min_probability: float = 0.0,
    base: str = BASE,
) -> None:
    """Write the graph of `build_graph` as RDF, in Turtle.

    Every relation is a plain triple, so that a query need know nothing of probabilities. What it rests on is told by
    standard reification, an ``rdf:Statement`` for every post that says so, with its ``prov:wasDerivedFrom`` and
    ``:probability``: RDF-star would be shorter, but most stores and rdflib's Turtle parser do not read it, and an n-ary
    node in the triple's place would hide the relation. Statements have names made of their content, so that graphs
    written apart can be merged.

    Args:
        extractions: What was found.
        file: Where to write.
        min_probability: See `build_graph`.
        base: What all names begin with.

    Raises:
        GraphError: ``base`` is no beginning of an IRI.
        MissingPackageError: networkx or rdflib is not installed.
        OSError: The file cannot be written.
    """
    if not _IRI.fullmatch(base):
        raise GraphError(
            f"base is {base!r}: expected the beginning of an IRI, such as https://example.org/graph/"
        )
    rdflib = require("rdflib", "graph")
    found = build_graph(extractions, min_probability)
    terms = rdflib.Namespace(base)
    graph = rdflib.Graph()
    graph.bind("mmie", terms)
    graph.bind("prov", rdflib.PROV)
    for triple in (*_entity_triples(rdflib, found, base), *_relation_triples(rdflib, found, base)):
        graph.add(triple)
    atomic_write(
        Path(file), lambda partial: graph.serialize(partial, format="turtle", encoding="utf-8")
    )


def _entity_triples(rdflib: Any, found: Any, base: str) -> Iterator[tuple[Any, Any, Any]]:
    """Name, type and count of every entity."""
    label, mentions = rdflib.RDFS.label, rdflib.URIRef(f"{base}mentions")
    for key, values in found.nodes.items():
        entity, kind = (
            rdflib.URIRef(_entity_name(base, key)),
            rdflib.URIRef(_name(base, "type", key.type)),
        )
        yield entity, rdflib.RDF.type, kind
        yield entity, label, rdflib.Literal(values["text"])
        yield entity, mentions, rdflib.Literal(values["count"])
        yield kind, rdflib.RDF.type, rdflib.RDFS.Class
        yield kind, label, rdflib.Literal(key.type)


def _relation_triples(rdflib: Any, found: Any, base: str) -> Iterator[tuple[Any, Any, Any]]:
    """Every relation, and a statement about it for each post."""
    kind, probability = rdflib.RDF.type, rdflib.URIRef(f"{base}probability")
    for head, tail, values in found.edges(data=True):
        subject, target = (rdflib.URIRef(_entity_name(base, key)) for key in (head, tail))
        predicate = rdflib.URIRef(f"{base}relation/{quote(values['label'])}")
        yield subject, predicate, target
        yield predicate, kind, rdflib.RDF.Property
        yield predicate, rdflib.RDFS.label, rdflib.Literal(values["label"])
        for post, certain in values["posts"].items():
            source = rdflib.URIRef(_name(base, "post", post))
            said = hashlib.sha256(
                "\n".join([subject, predicate, target, source]).encode()
            ).hexdigest()
            statement = rdflib.URIRef(_name(base, "statement", said[:32]))
            yield source, rdflib.RDFS.label, rdflib.Literal(post)
            yield statement, kind, rdflib.RDF.Statement
            yield statement, rdflib.RDF.subject, subject
            yield statement, rdflib.RDF.predicate, predicate
            yield statement, rdflib.RDF.object, target
            yield statement, rdflib.PROV.wasDerivedFrom, source
            yield statement, probability, rdflib.Literal(float(certain))


def _entity_name(base: str, key: EntityKey) -> str:
    return _name(base, "entity", *key)


def _name(base: str, *parts: str) -> str:
    """An IRI; what one may not hold is percent-encoded, slashes within a part included."""
    return base + "/".join(quote(part, safe="") for part in parts)


def _mentions(extraction: Extraction) -> Iterable[Mention]:
    """The mentions of a post, and those that only a relation names, once each."""
    ends = (end for triple in extraction.relations for end in (triple.head, triple.tail))
    return dict.fromkeys([*extraction.entities, *ends])


def _add_triple(graph: Any, triple: Triple, post: str) -> None:
    """Add a relation to the graph, or to the evidence of the one that is there."""
    head, tail, label = _key(triple.head), _key(triple.tail), _clean(triple.label)
    if not graph.has_edge(head, tail, label):
        graph.add_edge(head, tail, label, label=label, count=0, probability=0.0, posts={})
    values = graph.edges[head, tail, label]
    values["count"] += 1
    values["probability"] = max(values["probability"], triple.probability)
    values["posts"][post] = max(values["posts"].get(post, 0.0), triple.probability)


def _key(mention: Mention) -> EntityKey:
    return EntityKey(_clean(mention.type), _clean(mention.text).casefold())


def _clean(text: str) -> str:
    """A text that XML can hold, with single spaces between its words."""
    return " ".join(_writable(text).split())


def _writable(text: str) -> str:
    return _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", text)
