"""The graph of what was found, as one HTML page to look around in; it opens without a network.

pyvis does not serve: with its resources inside, its page is 750 kB and still asks a content network for Bootstrap, and
the package brings IPython along. Here networkx lays the graph out, and a short script draws it.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mmie.inference.formats.graphs import build_graph
from mmie.types import Extraction
from mmie.utils.files import atomic_write
from mmie.utils.optional import require

MAX_NODES = 300
"""Entities on a page; more cannot be told apart."""
_SHOWN_POSTS = 20
"""Posts that are named of a relation, the most probable first."""
_SPACING = 90.0
"""Room of an entity, in pixels."""
_CLOSEST = 75.0
"""Pixels between the two closest entities of a part, so that their names can be told apart ..."""
_STRETCH = 2.5
"""... unless that makes the part larger than this many times what its entities need by their number."""
_COLOURS = 10


def write_html(
    extractions: Iterable[Extraction],
    file: str | Path,
    min_probability: float = 0.0,
    max_nodes: int = MAX_NODES,
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
    kept = sorted(graph, key=lambda key: (-graph.degree(key), -graph.nodes[key]["count"], key))[
        :max_nodes
    ]
    shown = graph.subgraph(kept)
    environment = Environment(
        loader=PackageLoader("mmie.inference.formats"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    page = environment.get_template("graph.html").render(**page_values(shown, kept), whole=graph)
    atomic_write(Path(file), lambda partial: partial.write_text(page, encoding="utf-8"))


def page_values(graph: Any, order: Sequence[Any]) -> dict[str, Any]:
    """What the page shows: ``types``, ``nodes`` and ``edges``, in plain values.

    Args:
        graph: A graph of `build_graph`.
        order: Its nodes, in the order in which the keyboard reaches them.
    """
    places = {key: number for number, key in enumerate(order)}
    types = sorted({key.type for key in order})
    spots = place_nodes(graph)
    nodes = [
        {
            **graph.nodes[key],
            "tone": types.index(key.type) % _COLOURS,
            "x": spots[key][0],
            "y": spots[key][1],
        }
        for key in order
    ]
    edges = [
        {**values, "head": places[head], "tail": places[tail], **_evidence(values["posts"])}
        for head, tail, values in graph.edges(data=True)
    ]
    legend = [{"name": name, "tone": number % _COLOURS} for number, name in enumerate(types)]
    return {
        "types": legend,
        "nodes": nodes,
        "edges": sorted(edges, key=lambda edge: (edge["head"], edge["tail"])),
    }


def place_nodes(graph: Any) -> dict[Any, tuple[float, float]]:
    """A place in pixels for every node, the same every time: each connected part by itself, the parts in rows."""
    networkx = require("networkx", "graph")
    parts = sorted(
        networkx.weakly_connected_components(graph), key=lambda part: (-len(part), min(part))
    )
    boxes = [_lay_out(networkx, graph.subgraph(sorted(part))) for part in parts]
    sizes = [_size(box) for box in boxes]
    wide = 1.4 * math.sqrt(sum(width * height for width, height in sizes))
    spots, left, top, tallest = {}, 0.0, 0.0, 0.0
    for box, (width, height) in zip(boxes, sizes, strict=True):
        if left and left + width > wide:
            left, top, tallest = 0.0, top + tallest, 0.0
        tallest = max(tallest, height)
        spots.update({key: (left + x, top + y) for key, (x, y) in box.items()})
        left += width
    return {key: (round(x, 1), round(y, 1)) for key, (x, y) in spots.items()}


def _lay_out(networkx: Any, part: Any) -> dict[Any, tuple[float, float]]:
    """Places of the nodes of a connected part in pixels, with a margin to the left and above."""
    if len(part) == 1:
        return dict.fromkeys(part, (_SPACING / 2, _SPACING / 2))
    simple = networkx.Graph()  # two relations between a pair pull no harder than one
    simple.add_nodes_from(sorted(part))
    simple.add_edges_from(sorted(part.edges()))
    drawn = networkx.spring_layout(simple, seed=0, iterations=200)
    spots = {key: (float(x), float(y)) for key, (x, y) in drawn.items()}
    closest = min(math.dist(*pair) for pair in combinations(spots.values(), 2))
    plain = _SPACING * math.sqrt(len(spots)) / 2
    scale = max(plain, min(_STRETCH * plain, _CLOSEST / max(closest, 1e-9)))
    left, top = (min(spot[axis] for spot in spots.values()) for axis in (0, 1))
    return {
        key: (_SPACING / 2 + scale * (x - left), _SPACING / 2 + scale * (y - top))
        for key, (x, y) in spots.items()
    }


def _size(box: dict[Any, tuple[float, float]]) -> tuple[float, float]:
    """Width and height of a part with its margins, in pixels."""
    return max(x for x, _ in box.values()) + _SPACING / 2, max(
        y for _, y in box.values()
    ) + _SPACING / 2


def _evidence(posts: dict[str, float]) -> dict[str, Any]:
    """The most probable posts of a relation, and how many there are."""
    best = sorted(posts.items(), key=lambda item: -item[1])
    return {"posts": best[:_SHOWN_POSTS], "posts_count": len(posts)}
