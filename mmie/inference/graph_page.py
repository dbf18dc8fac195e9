"""The graph of what was found, as one HTML page to look around in; it opens without a network.

pyvis does not serve: with its resources inside, its page is 750 kB and still asks a content network for Bootstrap, and
the package brings IPython along. Here networkx lays the graph out, and a short script draws it.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mmie.files import write_whole
from mmie.inference.graphs import build_graph
from mmie.inference.optional import require
from mmie.types import Extraction

MAX_NODES = 300
"""Entities on a page; more cannot be told apart."""
_SHOWN_POSTS = 20
"""Posts that are named of a relation, the most probable first."""
_SPACING = 90.0
"""Room between two entities, in pixels."""
_COLOURS = 10


def write_html(
    extractions: Iterable[Extraction], file: str | Path, min_probability: float = 0.0, max_nodes: int = MAX_NODES
) -> None:
    """Write the graph of `build_graph` as a page.

    Args:
        extractions: What was found.
        file: Where to write.
        min_probability: See `build_graph`.
        max_nodes: Entities that are shown: those with the most relations, then the most mentions. The page says how
            many there are.

    Raises:
        MissingPackageError: networkx is not installed.
        OSError: The file cannot be written.
    """
    graph = build_graph(extractions, min_probability)
    kept = sorted(graph, key=lambda key: (-graph.degree(key), -graph.nodes[key]["count"], key))[:max_nodes]
    shown = graph.subgraph(kept)
    environment = Environment(
        loader=PackageLoader("mmie.inference"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("graph.html").render(**page_values(shown, kept), whole=graph)
    write_whole(Path(file), lambda partial: partial.write_text(page, encoding="utf-8"))


def page_values(graph: Any, order: Sequence[Any]) -> dict[str, Any]:  # noqa: ANN401
    """What the page shows: ``types``, ``nodes`` and ``edges``, in plain values.

    Args:
        graph: A graph of `build_graph`.
        order: Its nodes, in the order in which the keyboard reaches them.
    """
    places = {key: number for number, key in enumerate(order)}
    types = sorted({key.type for key in order})
    spots = place_nodes(graph)
    nodes = [
        {**graph.nodes[key], "tone": types.index(key.type) % _COLOURS, "x": spots[key][0], "y": spots[key][1]}
        for key in order
    ]
    edges = [
        {**values, "head": places[head], "tail": places[tail], **_evidence(values["posts"])}
        for head, tail, values in graph.edges(data=True)
    ]
    legend = [{"name": name, "tone": number % _COLOURS} for number, name in enumerate(types)]
    return {"types": legend, "nodes": nodes, "edges": sorted(edges, key=lambda edge: (edge["head"], edge["tail"]))}


def place_nodes(graph: Any) -> dict[Any, tuple[float, float]]:  # noqa: ANN401
    """A place in pixels for every node, the same every time: each connected part by itself, the parts in rows."""
    networkx = require("networkx", "graph")
    parts = sorted(networkx.weakly_connected_components(graph), key=lambda part: (-len(part), min(part)))
    boxes = [_lay_out(networkx, graph.subgraph(sorted(part))) for part in parts]
    wide = 1.3 * math.sqrt(sum(_side(box) ** 2 for box in boxes))
    spots, left, top, height = {}, 0.0, 0.0, 0.0
    for box in boxes:
        side = _side(box)
        if left and left + side > wide:
            left, top, height = 0.0, top + height, 0.0
        height = max(height, side)
        spots.update({key: (left + side * x, top + side * y) for key, (x, y) in box.items()})
        left += side
    return {key: (round(x, 1), round(y, 1)) for key, (x, y) in spots.items()}


def _lay_out(networkx: Any, part: Any) -> dict[Any, tuple[float, float]]:  # noqa: ANN401
    """Places of the nodes of a connected part in a square of side 1, with a margin."""
    if len(part) == 1:
        return dict.fromkeys(part, (0.5, 0.5))
    simple = networkx.Graph()  # two relations between a pair pull no harder than one
    simple.add_nodes_from(sorted(part))
    simple.add_edges_from(sorted(part.edges()))
    margin = 0.5 / (1 + math.sqrt(len(part)))
    spots = networkx.spring_layout(simple, seed=0, iterations=200, scale=0.5 - margin, center=(0.5, 0.5))
    return {key: (float(x), float(y)) for key, (x, y) in spots.items()}


def _side(box: dict[Any, tuple[float, float]]) -> float:
    """Side of the square of a part, in pixels."""
    return _SPACING * (1 + math.sqrt(len(box)) if len(box) > 1 else 1)


def _evidence(posts: dict[str, float]) -> dict[str, Any]:
    """The most probable posts of a relation, and how many there are."""
    best = sorted(posts.items(), key=lambda item: -item[1])
    return {"posts": best[:_SHOWN_POSTS], "posts_count": len(posts)}
