"""The table of scores and the files of a comparison."""

import json

from helpers.comparison import groups_of
from helpers.run_folders import write_run

from mmie.reports.comparison.report import scores_table, write_report


def test_the_table_has_a_row_for_each_system(tmp_path):
    groups = groups_of(
        write_run(tmp_path / "a", f1=0.25, seed=1),
        write_run(tmp_path / "b", f1=0.75, seed=2),
        write_run(tmp_path / "c", task="re", lines=None),
    )
    columns = [list(column.cells) for column in scores_table(groups).columns]
    assert columns[0] == ["RAP", "RAP"]
    assert columns[2] == ["ner", "re"]
    assert columns[3] == ["2", "1"]
    assert columns[6] == ["50.00 ± 35.36", "50.00"]


def test_the_table_has_the_bound_of_a_demo_corpus(tmp_path, demo_root):
    run = write_run(tmp_path / "a", corpus="mmie.data.DemoCorpus", root=demo_root, lines=None)
    table = scores_table(groups_of(run))
    names = list(table.columns[0].cells)
    assert names == ["RAP", "best possible from text alone"]


def test_tests_with_other_pictures_have_columns(tmp_path):
    sections = {"test_shuffled": {"test/f1": 0.25}, "test_none": {"test/f1": 0.125}}
    groups = groups_of(
        write_run(tmp_path / "a", sections=sections),
        write_run(tmp_path / "b", method="mmie.methods.TextOnly"),
    )
    table = scores_table(groups)
    assert table.title == "Test scores on Twitter2017, task ner"
    headings = [" ".join(str(column.header).split()) for column in table.columns]
    assert headings[-3:] == ["F1", "F1 with shuffled pictures", "F1 without pictures"]
    cells = [list(column.cells) for column in table.columns[-3:]]
    no_value = "\N{EN DASH}"
    assert cells == [["50.00", "50.00"], ["25.00", no_value], ["12.50", no_value]]


def test_three_files_are_written(tmp_path):
    groups = groups_of(write_run(tmp_path / "a"))
    page, _ = write_report(groups, [tmp_path / "untested"], tmp_path / "out", resamples=100)
    assert page == tmp_path / "out" / "comparison.html"
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {"comparison.html", "comparison.md", "comparison.json"}
    content = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert content["untested"] == [str(tmp_path / "untested")]
