"""Files and sentences of certificates."""

import json
from dataclasses import replace

import pytest
from helpers.exchanges import build_certificate

from mmie.reports.certificate.page import summary_lines, to_markdown, write_certificate


@pytest.mark.parametrize(
    ("p_value", "shown", "verdict"),
    [
        (0.01, "p = 0.01", "The answers depend on the right picture."),
        (0.00001, "p < 0.0001", "The answers depend on the right picture."),
        (0.05, "p = 0.05", "There is no evidence"),
    ],
)
def test_the_summary_is_plain_english(p_value, shown, verdict):
    worth, shares, last = summary_lines(build_certificate(p_value))
    assert worth.startswith(
        f"The right picture is worth +2.10 F1 (95 % interval +1.20 to +3.00), {shown}: F1 is 80.00"
    )
    assert "Of 80 true answers, 25.0 %" in shares
    assert "30.0 % (95 % interval 10.0 to 40.0) need" in shares
    assert last.startswith(verdict)


def test_markdown_and_json_say_what_is_left_out(tmp_path):
    certificate = replace(build_certificate(0.01), notes=("left out: <b>",))
    markdown, record, _ = write_certificate(certificate, "", tmp_path)
    assert "\n\n**left out: \\<b\\>**\n\n- The right picture" in markdown.read_text()
    assert json.loads(record.read_text())["notes"] == ["left out: <b>"]
    assert "**" not in to_markdown(build_certificate(0.01))


def test_markdown_has_a_row_for_each_part():
    text = to_markdown(build_certificate(0.01))
    assert "50 of 60 posts have a readable picture, 40 different ones" in text
    row = (
        r"| a\|b | 100 | 80 | 80.00 | 77.90 | +2.10 | +1.20 to +3.00 | 0.01 | 0.01 | 25.0 | 30.0 |"
    )
    assert text.count(row) == 2
    assert "## Type" in text


def test_the_files_hold_the_certificate(tmp_path):
    certificate = build_certificate(0.01)
    files = write_certificate(certificate, "{}\n", tmp_path / "new")
    assert [file.name for file in files] == ["certificate.md", "certificate.json", "answers.jsonl"]
    content = json.loads(files[1].read_text())
    assert content["significant"] is True
    assert content["total"]["difference"] == {"value": 0.021, "low": 0.012, "high": 0.03}
    assert content["parts"]["Type"][0]["needing"]["high"] == 0.4
    assert files[2].read_text() == "{}\n"
