"""Number formats, templates and files of reports."""

from mmie.reports.rendering import (
    escape_markdown,
    html_environment,
    number,
    p_value,
    percent,
    render_markdown_report,
    signed,
)
from mmie.reports.statistics import mean_and_deviation
from mmie.reports.study.page import TEXTS
from mmie.reports.study.study import ReportedResult, Study


def test_number_formats():
    assert percent(mean_and_deviation([0.5, 0.7])) == "60.00 ± 14.14"
    assert percent(mean_and_deviation([0.5])) == "50.00"
    assert percent(0.5, 0) == "50"
    assert signed(None) == "\N{EN DASH}"
    assert (signed(-0.5), signed(0.001)) == ("\N{MINUS SIGN}0.50", "0.00")
    assert (p_value(0.5), p_value(0.00002)) == ("0.5", "< 0.0001")
    assert number(1234.56) == "1,234.6"


def test_markdown_is_escaped_in_one_line():
    assert escape_markdown("a\n b|c_d") == r"a b\|c\_d"
    assert escape_markdown(3) == "3"


def test_html_templates_escape_what_they_insert():
    template = html_environment().from_string("{{ text }} {{ score|percent }}")
    assert template.render(text="<b>", score=0.5) == "&lt;b&gt; 50.00"


def test_markdown_reports_have_single_blank_lines_and_one_at_the_end():
    result = ReportedResult("A|B", "MNRE", "weights", 80.0)
    study = Study("cross-task", (), (result,))
    text = render_markdown_report("study.md", study=study, texts=TEXTS["cross-task"])
    assert r"A\|B" in text
    assert "\n\n\n" not in text
    assert text.endswith("|\n")
