"""Charts as SVG elements."""

import pytest
from helpers.html import ParsedPage

from mmie.reports.charts import (
    SeedScores,
    can_draw,
    epoch_band,
    grouped_bars,
    inline_svg,
    learning_curves,
    share_curves,
)

needs_matplotlib = pytest.mark.skipif(
    not can_draw(), reason="matplotlib is not installed: pip install 'mmie[report]'"
)


class StoredFigure:
    """A figure whose SVG is known."""

    def savefig(self, stream, **_):
        stream.write(
            '<?xml version="1.0"?>\n<!DOCTYPE svg PUBLIC "x" "http://www.w3.org/x.dtd">\n'
            '<svg width="9">\n <defs>\n  <style type="text/css">*{stroke-linejoin: round}</style>\n'
            ' </defs>\n<defs><clipPath id="p1"/></defs>'
            '<g id="g" clip-path="url(#p1)" style="fill: #010203; stroke: none"/>'
            '<text style="font: 12.5px \'DejaVu Sans\', sans-serif">a style="b"</text>'
            '<use xlink:href="#p1"/></svg>'
        )


def test_bands_reach_from_the_lowest_to_the_highest_seed():
    assert epoch_band([[0.5, 0.25], [0.75]]) == [(1, 0.625, 0.5, 0.75), (2, 0.25, 0.25, 0.25)]
    assert epoch_band([[None, 0.5]]) == [(2, 0.5, 0.5, 0.5)]
    assert epoch_band([]) == []


@needs_matplotlib
def test_learning_curves_are_one_element_in_the_colour_of_the_page():
    curves = {"RAP <b> $x$": [[0.25, 0.5], [0.5, None]], "_IMM": [[0.1, 0.2]]}
    text = learning_curves(curves, "one")
    page = ParsedPage(text)
    assert text.startswith("<svg")
    assert text.count("currentColor") > 3
    assert "<style" not in text
    assert " style=" not in text.partition("RAP")[0]
    assert 'stroke-linecap="square"' in text
    assert "RAP <b> $x$" in "".join(page.text)
    assert text == learning_curves(curves, "one")
    assert not set(page.ids) & set(ParsedPage(learning_curves({"RAP": [[0.1]]}, "two")).ids)


def test_ids_get_the_name_of_the_chart_and_styles_become_attributes():
    assert inline_svg(StoredFigure(), "c0") == (
        '<svg stroke-linejoin="round" width="9">\n <defs><clipPath id="c0-p1"/></defs>'
        '<g id="c0-g" clip-path="url(#c0-p1)" fill="currentColor" stroke="none"/>'
        '<text font-size="12.5px">a style="b"</text>'
        '<use xlink:href="#c0-p1"/></svg>'
    )


@needs_matplotlib
def test_share_curves_name_shares_and_systems():
    curves = {
        "a": {0.05: SeedScores((0.25, 0.5)), 1: SeedScores((0.75,), 80.0)},
        "_$b": {1: SeedScores((0.5,))},
    }
    drawn = share_curves(curves, "c")
    for word in (">5 %<", ">100 %<", ">a<", ">a, published<", ">$b<"):
        assert word in drawn, word
    assert drawn == share_curves(curves, "c")


@needs_matplotlib
def test_bars_have_one_entry_in_the_legend_for_each_name():
    groups = {
        "x": {"a": SeedScores((0.25, 0.75), 60.0), "b": SeedScores((0.5,))},
        "y": {"a": SeedScores((1.0,))},
    }
    drawn = grouped_bars(groups, "c")
    assert drawn.count(">a<") == drawn.count(">b<") == drawn.count(">published<") == 1
    assert drawn.count(">50.00<") == 2
    assert ">100.00<" in drawn
