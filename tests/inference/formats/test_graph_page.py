"""The page holds the graph, loads nothing, and places entities apart."""

import json
import math
from collections import Counter
from html.parser import HTMLParser
from itertools import combinations

import pytest
from helpers.browser import CHROMIUM, browse, needs_chromium
from helpers.extractions import edges_by_text, make_extraction
from helpers.html import PolicyCheck

from mmie.inference.formats.graph_page import page_values, place_nodes, write_html
from mmie.inference.formats.graphs import build_graph


class Page(HTMLParser):
    """Addresses that a browser would load or run, and the data of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.loaded, self.data, self.is_in_data = Counter(), [], "", False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        for name, value in attributes:
            if name in ("src", "href", "srcset") or name.startswith("on"):
                self.loaded.append(value)
        self.is_in_data = ("id", "data") in attributes

    def handle_data(self, data):
        if self.is_in_data:
            self.data += data
            self.is_in_data = False


def test_the_page_holds_the_graph_and_loads_nothing(posts, tmp_path):
    write_html(posts, tmp_path / "graph.html")
    html = (tmp_path / "graph.html").read_text(encoding="utf-8")
    page, graph = Page(html), build_graph(posts)
    PolicyCheck(html)
    assert page.loaded == []
    assert page.tags["script"] == 1
    assert "@import" not in html
    assert "url(http" not in html
    data = json.loads(page.data)
    nodes = data["nodes"]
    assert Counter((node["text"], node["type"], node["count"]) for node in nodes) == Counter(
        (values["text"], values["type"], values["count"]) for values in graph.nodes.values()
    )
    evidence = {}
    for edge in data["edges"]:
        head, tail = nodes[edge["head"]], nodes[edge["tail"]]
        name = (head["text"], head["type"], tail["text"], tail["type"], edge["label"])
        evidence[name] = dict(edge["posts"])
    assert evidence == {name: values["posts"] for name, values in edges_by_text(graph).items()}


def test_the_page_shows_the_entities_with_most_relations(found, tmp_path):
    write_html(found, tmp_path / "graph.html", max_nodes=2)
    html = (tmp_path / "graph.html").read_text(encoding="utf-8")
    assert {node["text"] for node in json.loads(Page(html).data)["nodes"]} == {"Ann Lee", "Rome"}
    assert "4 entities, 4 relations; shown are the 2 entities" in html


def test_an_empty_graph_has_a_page(tmp_path):
    write_html([], tmp_path / "graph.html")
    assert "0 entities, 0 relations" in (tmp_path / "graph.html").read_text(encoding="utf-8")


def test_positions_are_apart_and_deterministic():
    names = [f"name{number}" for number in range(30)]
    ring = []
    for index in range(20):
        pair = [(names[index], "A", 1.0), (names[(index + 1) % 20], "A", 1.0)]
        ring.append(make_extraction(f"p{index}", pair, [(0, "r", 1, 1.0)]))
    alone = [make_extraction("q", [(name, "A", 1.0) for name in names[20:]])]
    graph = build_graph([*ring, *alone])
    positions = place_nodes(graph)
    assert positions == place_nodes(build_graph([*ring, *alone]))
    assert min(math.dist(*pair) for pair in combinations(positions.values(), 2)) > 15
    assert len(page_values(graph, list(graph))["nodes"]) == 30


def test_the_names_of_a_long_chain_do_not_overlap():
    links = [(f"name{i}", f"name{i + 1}") for i in range(11)]
    links += [("name5", "name7"), ("name5", "branch")]
    chain = []
    for index, (head, tail) in enumerate(links):
        pair = [(head, "A", 1.0), (tail, "A", 1.0)]
        chain.append(make_extraction(f"p{index}", pair, [(0, "r", 1, 1.0)]))
    positions = place_nodes(build_graph(chain))
    assert min(math.dist(*pair) for pair in combinations(positions.values(), 2)) > 40
    assert min(min(position) for position in positions.values()) >= 0


@pytest.mark.slow
@needs_chromium
def test_a_browser_draws_the_page(hostile, tmp_path):
    write_html(hostile, tmp_path / "graph.html")
    dom, console = browse(tmp_path / "graph.html", tmp_path)
    assert console == ""
    graph = build_graph(hostile)
    assert dom.count('class="node"') == len(graph)
    assert dom.count('class="edge"') == len(graph.edges)
    assert dom.count('<path class="line" marker-end="url(#arrow)" stroke-width="1" d="M') == len(
        graph.edges
    )


@pytest.mark.slow
@needs_chromium
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
    before, zoomed_in, back, zoomed_out, whole = (float(box[2]) for box in boxes)
    assert zoomed_in < before == pytest.approx(back) == whole < zoomed_out
