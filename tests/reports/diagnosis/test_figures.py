"""Layout of tables, histograms and diagrams."""

import numpy as np
import torch

from mmie.reports.diagnosis.figures import (
    colours,
    correlation_histogram,
    embed_in_plane,
    heat_table,
    histogram,
    legend,
    path_diagram,
    quantiles,
)


def test_histograms_hold_shares():
    chart = histogram("x", {"a": [-5.0, 0.1, 0.1, 0.9], "b": []}, 0, 1, bins=4)
    assert chart["series"][0]["shares"] == [0.75, 0, 0, 0.25]
    assert chart["series"][1] == {"name": "b", "count": 0, "mean": 0.0, "shares": [0.0] * 4}
    assert chart["top"] == 0.75
    assert histogram("x", {}, 0, 1)["top"] == 1.0


def test_correlations_are_shown_from_minus_one_to_one():
    chart = correlation_histogram(torch.tensor([[-1.0, 1.0]]))
    assert (chart["low"], chart["high"]) == (-1, 1)
    assert chart["series"][0]["count"] == 2


def test_quantiles():
    assert quantiles(np.arange(11.0)) == {"low": 1.0, "middle": 5.0, "high": 9.0}


def test_cells_are_shaded_relative_to_the_largest_number():
    table = heat_table("x", ["a"], ["1", "2"], torch.tensor([[1.0, -4.0]]))
    assert (table["top"], table["rows"]) == (4.0, [("a", [1.0, -4.0])])
    assert heat_table("x", ["a"], ["1"], torch.zeros(1, 1))["top"] == 1.0


def test_rare_labels_share_a_colour():
    labels = [f"l{number:02}" for number in range(12) for _ in range(20 - number)]
    numbers = colours(labels)
    assert [numbers[f"l{number:02}"] for number in range(12)] == [*range(9), 9, 9, 9]
    assert legend(labels)[-1] == ("other", 9)
    assert colours(["b", "a", "b"]) == {"a": 0, "b": 1}


def test_groups_of_vectors_stay_together_in_the_plane():
    generator = np.random.default_rng(0)
    groups = np.repeat([[0.0], [9.0]], 15, axis=0) + generator.normal(0, 0.1, (30, 5))
    points = embed_in_plane(groups)
    assert points.min() == 0
    assert points.max() == 1
    first, second = points[:15].mean(0), points[15:].mean(0)
    radius = np.linalg.norm(points[:15] - first, axis=1).max()
    assert radius < np.linalg.norm(first - second)
    assert np.array_equal(points, embed_in_plane(groups))
    assert embed_in_plane(groups[:5]) is None
    assert embed_in_plane(np.ones((20, 3))) is None


def test_a_path_diagram_has_a_line_for_every_weight():
    weights = np.zeros((3, 2, 2))
    weights[:2] = np.arange(8).reshape(2, 2, 2)
    weights[2, :, 0] = (8, 9)
    diagram = path_diagram(weights, ["a", "b"])
    assert [node["name"] for node in diagram["nodes"]] == ["a", "b"] * 3 + ["out"]
    assert [line["weight"] for line in diagram["lines"]] == list(range(10))
    positions = {(node["x"], node["y"]) for node in diagram["nodes"]}
    for line in diagram["lines"]:
        assert (line["x1"], line["y1"]) in positions
        assert (line["x2"], line["y2"]) in positions
    for x, y in positions:
        assert 0 < x < diagram["width"]
        assert 0 < y < diagram["height"]
