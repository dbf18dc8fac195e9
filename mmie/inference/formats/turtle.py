"""Extractions from many posts as RDF, in Turtle.

==================================  ===========================================================
IRI, after the base                 resource
==================================  ===========================================================
``entity/TYPE/NAME``                an entity, with type, label and number of ``mentions``
``type/TYPE``                       its class
``relation/LABEL``                  a predicate between entities
``post/ID``                         a post
``statement/DIGEST``                an ``rdf:Statement``: the post that states a relation
==================================  ===========================================================

Every relation is a plain triple, so that queries can ignore probabilities. Standard reification
gives its evidence: an ``rdf:Statement`` for every post that states it, with ``prov:wasDerivedFrom``
and ``:probability``. RDF-star would be shorter, but most stores and rdflib's Turtle parser do not
read it. An n-ary node in place of the triple would hide the relation. Statements are named by a
digest of their content, so that separate graphs can be merged.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mmie.inference.formats.graphs import EntityKey, build_graph
from mmie.types import Extraction, MmieError
from mmie.utils.files import atomic_write
from mmie.utils.optional import require

BASE = "urn:mmie:"
"""Default beginning of the names of all resources."""
_IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-\[\]_a-z~]*")

RdfTriple = tuple[Any, Any, Any]
"""Subject, predicate and object."""


class GraphError(MmieError, ValueError):
    """A graph that cannot be written with the given settings."""


def write_turtle(
    extractions: Iterable[Extraction],
    file: str | Path,
    min_probability: float = 0.0,
    base: str = BASE,
) -> None:
    """Write the graph of `build_graph` as RDF, in Turtle.

    Args:
        extractions: The extractions.
        file: The file.
        min_probability: See `build_graph`.
        base: Beginning of all names.

    Raises:
        GraphError: ``base`` is no beginning of an IRI.
        MissingPackageError: networkx or rdflib is not installed.
        OSError: The file cannot be written.
    """
    if not _IRI.fullmatch(base):
        raise GraphError(
            f"base is {base!r}: expected the beginning of an IRI, "
            "such as https://example.org/graph/"
        )
    rdflib = require("rdflib", "graph")
    graph = build_graph(extractions, min_probability)
    rdf_graph = rdflib.Graph()
    rdf_graph.bind("mmie", rdflib.Namespace(base))
    rdf_graph.bind("prov", rdflib.PROV)
    for triple in _entity_triples(rdflib, graph, base):
        rdf_graph.add(triple)
    for triple in _relation_triples(rdflib, graph, base):
        rdf_graph.add(triple)
    atomic_write(
        Path(file), lambda partial: rdf_graph.serialize(partial, format="turtle", encoding="utf-8")
    )


def _entity_triples(rdflib: Any, graph: Any, base: str) -> Iterator[RdfTriple]:
    """Yield name, type and number of mentions of every entity."""
    rdf_type, label = rdflib.RDF.type, rdflib.RDFS.label
    mentions = rdflib.URIRef(f"{base}mentions")
    for key, values in graph.nodes.items():
        entity = _entity(rdflib, base, key)
        entity_type = rdflib.URIRef(_name(base, "type", key.type))
        yield entity, rdf_type, entity_type
        yield entity, label, rdflib.Literal(values["text"])
        yield entity, mentions, rdflib.Literal(values["count"])
        yield entity_type, rdf_type, rdflib.RDFS.Class
        yield entity_type, label, rdflib.Literal(key.type)


def _relation_triples(rdflib: Any, graph: Any, base: str) -> Iterator[RdfTriple]:
    """Yield every relation, and a statement about it for each post."""
    for head, tail, values in graph.edges(data=True):
        predicate = rdflib.URIRef(f"{base}relation/{quote(values['label'])}")
        relation = _entity(rdflib, base, head), predicate, _entity(rdflib, base, tail)
        yield relation
        yield predicate, rdflib.RDF.type, rdflib.RDF.Property
        yield predicate, rdflib.RDFS.label, rdflib.Literal(values["label"])
        for post, probability in values["posts"].items():
            yield from _statement_triples(rdflib, base, relation, post, probability)


def _statement_triples(
    rdflib: Any, base: str, relation: RdfTriple, post: str, probability: float
) -> Iterator[RdfTriple]:
    """Yield the reified statement that a post states a relation with a probability."""
    source = rdflib.URIRef(_name(base, "post", post))
    digest = hashlib.sha256("\n".join([*relation, source]).encode()).hexdigest()
    statement = rdflib.URIRef(_name(base, "statement", digest[:32]))
    subject, predicate, target = relation
    yield source, rdflib.RDFS.label, rdflib.Literal(post)
    yield statement, rdflib.RDF.type, rdflib.RDF.Statement
    yield statement, rdflib.RDF.subject, subject
    yield statement, rdflib.RDF.predicate, predicate
    yield statement, rdflib.RDF.object, target
    yield statement, rdflib.PROV.wasDerivedFrom, source
    yield statement, rdflib.URIRef(f"{base}probability"), rdflib.Literal(float(probability))


def _entity(rdflib: Any, base: str, key: EntityKey) -> Any:
    """Return the resource of an entity."""
    return rdflib.URIRef(_name(base, "entity", *key))


def _name(base: str, *parts: str) -> str:
    """Join parts to an IRI and percent-encode them, slashes within a part included."""
    return base + "/".join(quote(part, safe="") for part in parts)
