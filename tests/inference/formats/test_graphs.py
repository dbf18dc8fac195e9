"""Entities and relations of many posts form one graph, which GraphML preserves."""

import json
from xml.etree import ElementTree

import networkx
import pytest
from helpers.extractions import edges_by_text, make_extraction

from mmie.inference.formats.graphs import build_graph, write_graphml
from mmie.types import Extraction


def test_mentions_of_one_name_and_type_are_one_entity(found):
    graph = build_graph(found)
    assert {(v["text"], v["type"]): v["count"] for v in graph.nodes.values()} == {
        ("Ann Lee", "PER"): 2,
        ("Ann", "PER"): 1,
        ("Rome", "LOC"): 3,  # the most frequent spelling
        ("Rome", "ORG"): 1,
    }
    lives = edges_by_text(graph)["Ann Lee", "PER", "Rome", "LOC", "lives in"]
    assert lives == {
        "label": "lives in",
        "count": 2,
        "probability": 0.9,
        "posts": {"a": 0.6, "b": 0.9},
    }
    assert len(graph.edges) == 4


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.45, 0.6, 0.95, 1.0])
def test_improbable_mentions_and_relations_are_left_out(found, threshold):
    graph = build_graph(found, threshold)
    mentions = [
        mention for post in found for mention in post.entities if mention.probability >= threshold
    ]
    triples = [
        triple
        for post in found
        for triple in post.relations
        if min(triple.probability, triple.head.probability, triple.tail.probability) >= threshold
    ]
    assert sum(values["count"] for values in graph.nodes.values()) == len(mentions)
    assert sum(values["count"] for *_, values in graph.edges(data=True)) == len(triples)
    assert all("text" in values for values in graph.nodes.values()), (
        "an edge added a node that was left out"
    )


def test_a_mention_that_only_a_relation_names_is_counted_once():
    known = make_extraction(
        "a", [("Ann", "PER", 1.0), ("Rome", "LOC", 1.0)], [(0, "in", 1, 0.5), (0, "from", 1, 0.5)]
    )
    graph = build_graph([Extraction("a", known.text, known.offsets, (), known.relations)])
    assert [values["count"] for values in graph.nodes.values()] == [1, 1]


def test_graphml_is_read_back(posts, tmp_path):
    write_graphml(posts, tmp_path / "graph.graphml")
    graph = build_graph(posts)
    read = networkx.read_graphml(tmp_path / "graph.graphml", force_multigraph=True)
    assert [dict(values) for values in read.nodes.values()] == [
        dict(values) for values in graph.nodes.values()
    ]
    edges = {
        name: {**values, "posts": json.loads(values["posts"])}
        for name, values in edges_by_text(read).items()
    }
    assert edges == edges_by_text(graph)
    elements = ElementTree.parse(tmp_path / "graph.graphml").iter()
    ids = [element.get("id") for element in elements if element.get("id")]
    assert len(ids) == len(set(ids)), "ids of XML elements must be unique"
