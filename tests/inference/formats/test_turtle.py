"""Turtle preserves the graph, and separate files can be merged."""

from collections import Counter

import pytest
import rdflib
from helpers.extractions import edges_by_text

from mmie.inference.formats.graphs import build_graph
from mmie.inference.formats.turtle import GraphError, write_turtle


@pytest.mark.parametrize("base", ["urn:mmie:", "https://example.org/graph/"])
def test_turtle_is_read_back(posts, base, tmp_path):
    write_turtle(posts, tmp_path / "graph.ttl", base=base)
    read, graph = rdflib.Graph().parse(tmp_path / "graph.ttl"), build_graph(posts)

    def label(node):
        return str(read.value(node, rdflib.RDFS.label))

    mentions = rdflib.URIRef(f"{base}mentions")
    counts = {node: count.value for node, _, count in read.triples((None, mentions, None))}
    types = {node: label(read.value(node, rdflib.RDF.type)) for node in counts}
    entities = Counter((label(node), types[node], count) for node, count in counts.items())
    assert entities == Counter(
        (values["text"], values["type"], values["count"]) for values in graph.nodes.values()
    )
    probability = rdflib.URIRef(f"{base}probability")
    evidence = {}
    for statement in read.subjects(rdflib.RDF.type, rdflib.RDF.Statement):
        head = read.value(statement, rdflib.RDF.subject)
        relation = read.value(statement, rdflib.RDF.predicate)
        tail = read.value(statement, rdflib.RDF.object)
        assert (head, relation, tail) in read, "the relation itself must be stated"
        name = (label(head), types[head], label(tail), types[tail], label(relation))
        post = label(read.value(statement, rdflib.PROV.wasDerivedFrom))
        evidence.setdefault(name, {})[post] = read.value(statement, probability).value
    assert evidence == {name: values["posts"] for name, values in edges_by_text(graph).items()}


def test_separate_turtle_files_can_be_merged(found, tmp_path):
    for name, posts in (("all", found[:2]), ("first", found[:1]), ("second", found[1:2])):
        write_turtle(posts, tmp_path / f"{name}.ttl")
    merged = rdflib.Graph().parse(tmp_path / "first.ttl").parse(tmp_path / "second.ttl")
    whole = rdflib.Graph().parse(tmp_path / "all.ttl")
    statements = [
        set(graph.subjects(rdflib.RDF.type, rdflib.RDF.Statement)) for graph in (merged, whole)
    ]
    assert statements[0] == statements[1] != set()


@pytest.mark.parametrize("base", ["", "graph", "https://a b/", "urn:<x>", "urn:x\n"])
def test_a_base_that_begins_no_iri_is_refused(base, tmp_path):
    with pytest.raises(GraphError, match="base is"):
        write_turtle([], tmp_path / "graph.ttl", base=base)
    assert not (tmp_path / "graph.ttl").exists()
