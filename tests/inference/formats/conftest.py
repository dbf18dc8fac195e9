import pytest
from helpers.extractions import HOSTILE_TEXTS, make_extraction


@pytest.fixture(scope="module")
def found():
    """Three posts that agree in part."""
    return [
        make_extraction(
            "a",
            [("Ann Lee", "PER", 0.9), ("ROME", "LOC", 0.8), ("Ann", "PER", 0.7)],
            [(0, "lives in", 1, 0.6), (2, "lives in", 1, 0.4)],
            ["image: missing"],
        ),
        make_extraction(
            "b",
            [("Rome", "LOC", 0.95), ("ann  LEE", "PER", 0.3)],
            [(1, "lives in", 0, 0.9), (0, "/l/of", 1, 0.5)],
        ),
        make_extraction(
            "c", [("Rome", "LOC", 1.0), ("Rome", "ORG", 0.5)], [(0, "lives in", 1, 0.2)]
        ),
    ]


@pytest.fixture(scope="module")
def hostile():
    """Posts with each hostile text as text, type, label and post id."""
    return [
        make_extraction(
            text,
            [(text, text, 0.5), (text + "2", "B", 1.0)],
            [(0, text, 1, 0.25), (1, "back", 0, 0.75)],
        )
        for text in HOSTILE_TEXTS
    ]


@pytest.fixture(params=["found", "hostile"])
def posts(request):
    """Ordinary and hostile posts in turn."""
    return request.getfixturevalue(request.param)
