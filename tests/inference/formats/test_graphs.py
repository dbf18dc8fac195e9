"""Graphs come back from their files as they went in, whatever the posts hold."""

import json
import math
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser
from itertools import combinations
from xml.etree import ElementTree

import networkx
import pytest
import rdflib

from mmie.data.words import split_words
from mmie.inference.formats.graph_page import page_values, place_nodes, write_html
from mmie.inference.formats.graphs import GraphError, build_graph, write_graphml, write_turtle
from mmie.inference.formats.text import FormatError, from_json, read_jsonl, to_conll, to_json
from mmie.types import Extraction, Mention, Triple
from mmie.utils.optional import MissingPackageError, require

HOSTILE = (
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
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def extraction(name, entities, relations=(), problems=()):
    """A post whose text is its mentions: (text, type, probability), and (head, label, tail, probability) by place."""
    mentions, text = [], ""
    for words, kind, probability in entities:
        mentions.append(Mention(words, kind, len(text), len(text) + len(words), probability))
        text += words + " "
    triples = [
        Triple(mentions[head], label, mentions[tail], score)
        for head, label, tail, score in relations
    ]
    offsets = tuple((start, end) for _, start, end in split_words(text))
    return Extraction(name, text, offsets, tuple(mentions), tuple(triples), tuple(problems))


@pytest.fixture(scope="module")
def found():
    """Three posts that agree in part."""
    return [
        extraction(
            "a",
            [("Ann Lee", "PER", 0.9), ("ROME", "LOC", 0.8), ("Ann", "PER", 0.7)],
            [(0, "lives in", 1, 0.6), (2, "lives in", 1, 0.4)],
            ["image: missing"],
        ),
        extraction(
            "b",
            [("Rome", "LOC", 0.95), ("ann  LEE", "PER", 0.3)],
            [(1, "lives in", 0, 0.9), (0, "/l/of", 1, 0.5)],
        ),
        extraction("c", [("Rome", "LOC", 1.0), ("Rome", "ORG", 0.5)], [(0, "lives in", 1, 0.2)]),
    ]


@pytest.fixture(scope="module")
def hostile():
    """Every hostile text as text, type, label and post id."""
    return [
        extraction(
            text,
            [(text, text, 0.5), (text + "2", "B", 1.0)],
            [(0, text, 1, 0.25), (1, "back", 0, 0.75)],
        )
        for text in HOSTILE
    ]


def edges_of(graph):
    """Relations by the texts and types of their ends."""
    return {
        (
            *(graph.nodes[end][name] for end in (head, tail) for name in ("text", "type")),
            values["label"],
        ): values
        for head, tail, values in graph.edges(data=True)
    }


def test_mentions_of_one_name_and_type_are_one_entity(found):
    graph = build_graph(found)
    assert {(v["text"], v["type"]): v["count"] for v in graph.nodes.values()} == {
        ("Ann Lee", "PER"): 2,
        ("Ann", "PER"): 1,
        ("Rome", "LOC"): 3,  # the commonest spelling
        ("Rome", "ORG"): 1,
    }
    lives = edges_of(graph)["Ann Lee", "PER", "Rome", "LOC", "lives in"]
    assert lives == {
        "label": "lives in",
        "count": 2,
        "probability": 0.9,
        "posts": {"a": 0.6, "b": 0.9},
    }
    assert len(graph.edges) == 4


@pytest.mark.parametrize("least", [0.0, 0.3, 0.45, 0.6, 0.95, 1.0])
def test_what_is_improbable_is_left_out(found, least):
    graph = build_graph(found, least)
    mentions = [
        mention for post in found for mention in post.entities if mention.probability >= least
    ]
    triples = [t for post in found for t in post.relations if min(t.probability, *ends(t)) >= least]
    assert sum(values["count"] for values in graph.nodes.values()) == len(mentions)
    assert sum(values["count"] for *_, values in graph.edges(data=True)) == len(triples)
    assert all("text" in values for values in graph.nodes.values()), (
        "an edge brought in a node that was left out"
    )


def ends(triple):
    return triple.head.probability, triple.tail.probability


def test_a_mention_that_only_a_relation_names_is_counted_once():
    known = extraction(
        "a", [("Ann", "PER", 1.0), ("Rome", "LOC", 1.0)], [(0, "in", 1, 0.5), (0, "from", 1, 0.5)]
    )
    graph = build_graph([Extraction("a", known.text, known.offsets, (), known.relations)])
    assert [values["count"] for values in graph.nodes.values()] == [1, 1]


def test_lines_are_read_back(found, tmp_path):
    file = tmp_path / "out.jsonl"
    file.write_text(
        "\n\n".join(json.dumps(to_json(post)) for post in found) + "\n", encoding="utf-8"
    )
    assert list(read_jsonl(file)) == found


def test_a_relation_between_given_entities_is_read_back():
    known = extraction("a", [("Ann", "PER", 1.0), ("Rome", "LOC", 1.0)], [(0, "in", 1, 0.5)])
    post = Extraction("a", known.text, known.offsets, (), known.relations)
    assert from_json(to_json(post)) == post


@pytest.mark.parametrize(
    "change",
    [
        {"text": None},
        {"text": 3},
        {"id": 7},
        {"entities": None},
        {"entities": [{"type": "PER", "start": 0, "end": 99, "probability": 1.0}]},
        {"entities": [{"type": "PER", "start": -1, "end": 2, "probability": 1.0}]},
        {"entities": [{"type": "PER", "start": 0, "end": 2, "probability": float("nan")}]},
        {"entities": [{"type": ["PER"], "start": 0, "end": 2, "probability": 1.0}]},
        {"entities": ["Ann"]},
        {"relations": [{"head": {}, "label": "in", "tail": {}, "probability": 0.5}]},
        {"problems": [1]},
    ],
)
def test_a_wrong_line_is_told_in_one_line(found, change, tmp_path):
    file = tmp_path / "out.jsonl"
    lines = [to_json(found[0]), {**to_json(found[0]), **change}]
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    with pytest.raises(FormatError, match=r"out\.jsonl:2: expected") as caught:
        list(read_jsonl(file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", [b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_line_that_is_no_object_is_told(line, tmp_path):
    (tmp_path / "out.jsonl").write_bytes(line)
    with pytest.raises(FormatError, match=r"out\.jsonl:1: "):
        list(read_jsonl(tmp_path / "out.jsonl"))


@pytest.mark.parametrize("posts", ["found", "hostile"])
def test_graphml_comes_back(posts, request, tmp_path):
    posts = request.getfixturevalue(posts)
    write_graphml(posts, tmp_path / "graph.graphml")
    graph, back = (
        build_graph(posts),
        networkx.read_graphml(tmp_path / "graph.graphml", force_multigraph=True),
    )
    assert [dict(values) for values in back.nodes.values()] == [
        dict(values) for values in graph.nodes.values()
    ]
    edges = {
        name: {**values, "posts": json.loads(values["posts"])}
        for name, values in edges_of(back).items()
    }
    assert edges == edges_of(graph)
    names = [
        element.get("id")
        for element in ElementTree.parse(tmp_path / "graph.graphml").iter()
        if element.get("id")
    ]
    assert len(names) == len(set(names)), "ids of XML elements are unique"


@pytest.mark.parametrize("posts", ["found", "hostile"])
@pytest.mark.parametrize("base", ["urn:mmie:", "https://example.org/graph/"])
def test_turtle_comes_back(posts, base, request, tmp_path):
    posts = request.getfixturevalue(posts)
    write_turtle(posts, tmp_path / "graph.ttl", base=base)
    back, graph = rdflib.Graph().parse(tmp_path / "graph.ttl"), build_graph(posts)

    def label(node):
        return str(back.value(node, rdflib.RDFS.label))

    entities = {
        node: values
        for node, _, values in back.triples((None, rdflib.URIRef(f"{base}mentions"), None))
    }
    types = {node: label(back.value(node, rdflib.RDF.type)) for node in entities}
    assert Counter(
        (label(node), types[node], count.value) for node, count in entities.items()
    ) == Counter(
        (values["text"], values["type"], values["count"]) for values in graph.nodes.values()
    )
    evidence = {}
    for statement in back.subjects(rdflib.RDF.type, rdflib.RDF.Statement):
        parts = [
            back.value(statement, part)
            for part in (rdflib.RDF.subject, rdflib.RDF.predicate, rdflib.RDF.object)
        ]
        assert tuple(parts) in back, "the relation itself is stated"
        name = (label(parts[0]), types[parts[0]], label(parts[2]), types[parts[2]], label(parts[1]))
        post = label(back.value(statement, rdflib.PROV.wasDerivedFrom))
        evidence.setdefault(name, {})[post] = back.value(
            statement, rdflib.URIRef(f"{base}probability")
        ).value
    assert evidence == {name: values["posts"] for name, values in edges_of(graph).items()}


def test_turtle_of_parts_merges(found, tmp_path):
    for name, posts in (("all", found[:2]), ("first", found[:1]), ("second", found[1:2])):
        write_turtle(posts, tmp_path / f"{name}.ttl")
    merged = rdflib.Graph().parse(tmp_path / "first.ttl").parse(tmp_path / "second.ttl")
    whole = rdflib.Graph().parse(tmp_path / "all.ttl")
    statements = [
        set(graph.subjects(rdflib.RDF.type, rdflib.RDF.Statement)) for graph in (merged, whole)
    ]
    assert statements[0] == statements[1] != set()


@pytest.mark.parametrize("base", ["", "graph", "https://a b/", "urn:<x>", "urn:x\n"])
def test_a_base_that_no_name_can_begin_with_is_refused(base, tmp_path):
    with pytest.raises(GraphError, match="base is"):
        write_turtle([], tmp_path / "graph.ttl", base=base)
    assert not (tmp_path / "graph.ttl").exists()


class Page(HTMLParser):
    """What a browser would load or run, and the data."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.loaded, self.data, self.inside = Counter(), [], "", False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        self.loaded += [
            value
            for name, value in attributes
            if name in ("src", "href", "srcset") or name.startswith("on")
        ]
        self.inside = ("id", "data") in attributes

    def handle_data(self, data):
        if self.inside:
            self.data += data
            self.inside = False


@pytest.mark.parametrize("posts", ["found", "hostile"])
def test_the_page_holds_the_graph_and_loads_nothing(posts, request, tmp_path):
    posts = request.getfixturevalue(posts)
    write_html(posts, tmp_path / "graph.html")
    html = (tmp_path / "graph.html").read_text(encoding="utf-8")
    page, graph = Page(html), build_graph(posts)
    assert page.loaded == []
    assert page.tags["script"] == 2
    assert "@import" not in html
    assert "url(http" not in html
    data = json.loads(page.data)
    assert Counter((n["text"], n["type"], n["count"]) for n in data["nodes"]) == Counter(
        (v["text"], v["type"], v["count"]) for v in graph.nodes.values()
    )
    nodes = data["nodes"]
    ends = {
        (
            *(nodes[e[end]][name] for end in ("head", "tail") for name in ("text", "type")),
            e["label"],
        ): dict(e["posts"])
        for e in data["edges"]
    }
    assert ends == {name: values["posts"] for name, values in edges_of(graph).items()}


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_draws_the_page(hostile, tmp_path):
    write_html(hostile, tmp_path / "graph.html")
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    address = (tmp_path / "graph.html").as_uri()
    done = subprocess.run(
        [*command, "--dump-dom", address], capture_output=True, text=True, timeout=60, check=True
    )
    graph = build_graph(hostile)
    assert done.stdout.count('class="node"') == len(graph)
    assert done.stdout.count('class="edge"') == len(graph.edges)
    assert done.stdout.count(
        '<path class="line" marker-end="url(#arrow)" stroke-width="1" d="M'
    ) == len(graph.edges)


def test_the_page_shows_the_entities_with_most_relations(found, tmp_path):
    write_html(found, tmp_path / "graph.html", max_nodes=2)
    html = (tmp_path / "graph.html").read_text(encoding="utf-8")
    assert {node["text"] for node in json.loads(Page(html).data)["nodes"]} == {"Ann Lee", "Rome"}
    assert "4 entities, 4 relations; shown are the 2 entities" in html


def test_nothing_found_is_a_page_too(tmp_path):
    write_html([], tmp_path / "graph.html")
    assert "0 entities, 0 relations" in (tmp_path / "graph.html").read_text(encoding="utf-8")


def test_places_are_apart_and_always_the_same():
    names = [f"name{number}" for number in range(30)]
    ring = [
        extraction(
            f"p{i}", [(names[i], "A", 1.0), (names[(i + 1) % 20], "A", 1.0)], [(0, "r", 1, 1.0)]
        )
        for i in range(20)
    ]
    alone = [extraction("q", [(name, "A", 1.0) for name in names[20:]])]
    graph = build_graph([*ring, *alone])
    spots = place_nodes(graph)
    assert spots == place_nodes(build_graph([*ring, *alone]))
    gaps = [
        ((x - u) ** 2 + (y - v) ** 2) ** 0.5
        for first, (x, y) in spots.items()
        for second, (u, v) in spots.items()
        if first != second
    ]
    assert min(gaps) > 15
    assert len(page_values(graph, list(graph))["nodes"]) == 30


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_page_zooms_without_a_wheel(found, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    write_html(found, tmp_path / "graph.html")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.goto((tmp_path / "graph.html").as_uri())
        boxes = [page.get_attribute("#graph", "viewBox").split()]
        for name in ("Zoom in", "Zoom out", "Zoom out", "Show all"):
            page.get_by_role("button", name=name).click()
            boxes.append(page.get_attribute("#graph", "viewBox").split())
        browser.close()
    before, closer, back, farther, whole = (float(box[2]) for box in boxes)
    assert closer < before == pytest.approx(back) == whole < farther


def test_the_names_of_a_long_chain_can_be_told_apart():
    links = [(f"name{i}", f"name{i + 1}") for i in range(11)] + [
        ("name5", "name7"),
        ("name5", "branch"),
    ]
    chain = [
        extraction(f"p{i}", [(one, "A", 1.0), (other, "A", 1.0)], [(0, "r", 1, 1.0)])
        for i, (one, other) in enumerate(links)
    ]
    spots = place_nodes(build_graph(chain))
    assert min(math.dist(*pair) for pair in combinations(spots.values(), 2)) > 40
    assert min(min(spot) for spot in spots.values()) >= 0


@pytest.mark.parametrize("write", [write_graphml, write_turtle, write_html])
def test_a_run_that_stops_leaves_the_older_file(write, found, tmp_path):
    file = tmp_path / "new" / "graph.x"
    write(found, file)
    before = file.read_bytes()

    def broken():
        yield found[0]
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write(broken(), file)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_mention_between_words_is_told(found):
    post = from_json(
        {**to_json(found[0]), "entities": [{"type": "A", "start": 1, "end": 3, "probability": 1.0}]}
    )
    with pytest.raises(FormatError, match="post a: 'nn' starts or ends where no word does"):
        to_conll(post)


def test_a_package_that_is_not_there_is_told_in_one_line():
    with pytest.raises(
        MissingPackageError,
        match=r"^package 'no_such_package' is not .*: pip install 'mmie\[graph\]'$",
    ):
        require("no_such_package.part", "graph")
