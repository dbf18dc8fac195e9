"""The graph of extractions as one interactive HTML page, which needs no network.

networkx computes the layout, and a short script draws it. pyvis is not used: its page with the
resources included has 750 kB and still loads Bootstrap from the network, and the package depends on
IPython.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from mmie.inference.formats.graphs import EntityKey, build_graph
from mmie.types import Extraction
from mmie.utils.files import atomic_write_text
from mmie.utils.optional import require
from mmie.utils.pages import PageAssets, read_asset

MAX_NODES = 300
"""Largest number of entities on a page; more cannot be told apart."""
_MAX_POSTS = 20
"""Largest number of posts that are listed for a relation, the most probable first."""
_SPACING = 90.0
"""Width and height of an entity in pixels."""
_MIN_DISTANCE = 75.0
"""Pixels between the two closest entities of a component, so that their names do not overlap."""
_MAX_STRETCH = 2.5
"""Largest factor by which a component grows to reach `_MIN_DISTANCE`."""
_NUM_COLOURS = 10
_ASPECT_RATIO = 1.4

Positions = dict[EntityKey, tuple[float, float]]
"""x and y of nodes in pixels."""


class _Layout(NamedTuple):
    """Layout of a connected component, with margins, in pixels."""

    positions: Mapping[EntityKey, Sequence[float]]
    width: float
    height: float


def write_html(
    extractions: Iterable[Extraction],
    file: str | Path,
    min_probability: float = 0.0,
    max_nodes: int = MAX_NODES,
) -> None:
    """Write the graph of `build_graph` as a page.

    Args:
        extractions: The extractions.
        file: The file.
        min_probability: See `build_graph`.
        max_nodes: Largest number of entities on the page: those with the most relations, then the
            most mentions. The page gives the number of all entities.

    Raises:
        MissingPackageError: networkx is not installed.
        OSError: The file cannot be written.
    """
    graph = build_graph(extractions, min_probability)

    def importance(key: EntityKey) -> tuple[int, int, EntityKey]:
        return -graph.degree(key), -graph.nodes[key]["count"], key

    nodes = sorted(graph, key=importance)[:max_nodes]
    environment = Environment(
        loader=PackageLoader("mmie.inference.formats"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    values = page_values(graph.subgraph(nodes), nodes)
    package = "mmie.inference.formats"
    assets = PageAssets(
        read_asset(package, "templates/graph.css"), read_asset(package, "templates/graph.js")
    )
    page = environment.get_template("graph.html").render(**values, assets=assets, whole=graph)
    atomic_write_text(Path(file), page)


def page_values(graph: Any, order: Sequence[EntityKey]) -> dict[str, Any]:
    """Return the types, nodes and edges that the page shows, in plain values.

    Args:
        graph: A graph of `build_graph`.
        order: Its nodes, in the order in which the keyboard reaches them.
    """
    legend = []
    tones = {}
    for index, name in enumerate(sorted({key.type for key in order})):
        tones[name] = index % _NUM_COLOURS
        legend.append({"name": name, "tone": tones[name]})
    indices = {key: index for index, key in enumerate(order)}
    positions = place_nodes(graph)
    nodes = []
    for key in order:
        x, y = positions[key]
        nodes.append({**graph.nodes[key], "tone": tones[key.type], "x": x, "y": y})
    edges = []
    for head, tail, values in graph.edges(data=True):
        posts = values["posts"]
        edges.append(
            {
                **values,
                "head": indices[head],
                "tail": indices[tail],
                "posts": Counter(posts).most_common(_MAX_POSTS),
                "posts_count": len(posts),
            }
        )
    edges.sort(key=itemgetter("head", "tail"))
    return {"types": legend, "nodes": nodes, "edges": edges}


def place_nodes(graph: Any) -> Positions:
    """Compute a position for every node, deterministically.

    Each connected component is laid out alone; the components fill rows, the largest first.
    """
    networkx = require("networkx", "graph")
    components = sorted(
        networkx.weakly_connected_components(graph),
        key=lambda component: (-len(component), min(component)),
    )
    layouts = [_lay_out(networkx, graph.subgraph(sorted(nodes))) for nodes in components]
    area = sum(layout.width * layout.height for layout in layouts)
    max_width = _ASPECT_RATIO * math.sqrt(area)
    positions: Positions = {}
    left = top = row_height = 0.0
    for layout in layouts:
        if left and left + layout.width > max_width:
            left = 0.0
            top += row_height
            row_height = 0.0
        for key, (x, y) in layout.positions.items():
            positions[key] = round(left + x, 1), round(top + y, 1)
        left += layout.width
        row_height = max(row_height, layout.height)
    return positions


def _lay_out(networkx: Any, component: Any) -> _Layout:
    """Lay out a connected component."""
    margin = _SPACING / 2
    if len(component) == 1:
        return _Layout(dict.fromkeys(component, (margin, margin)), _SPACING, _SPACING)
    # Without parallel edges: two relations between a pair attract no more than one.
    simple_graph = networkx.Graph()
    simple_graph.add_nodes_from(sorted(component))
    simple_graph.add_edges_from(sorted(component.edges()))
    layout = networkx.spring_layout(simple_graph, seed=0, iterations=200)
    points = np.array(list(layout.values()))  # (nodes, 2)
    positions = margin + _scale(points) * (points - points.min(axis=0))  # (nodes, 2)
    width, height = (positions.max(axis=0) + margin).tolist()
    return _Layout(dict(zip(layout, positions.tolist(), strict=True)), width, height)


def _scale(points: NDArray[np.float64]) -> float:
    """Return the pixels of a unit of the layout.

    A component has the area that its number of nodes needs. It grows by at most `_MAX_STRETCH`
    where two nodes would be closer than `_MIN_DISTANCE`.

    Args:
        points: (nodes, 2) positions of the nodes.
    """
    pairs = combinations(points.tolist(), 2)
    min_distance = min(math.dist(first, second) for first, second in pairs)
    scale = _SPACING * math.sqrt(len(points)) / 2
    stretched_scale = _MIN_DISTANCE / max(min_distance, 1e-9)
    return max(scale, min(_MAX_STRETCH * scale, stretched_scale))
