"""Tables of methods."""

import pytest
from helpers.paths import REPOSITORY
from rich.console import Console

from mmie.methods import papers
from mmie.methods.papers import CORPORA
from mmie.reports.method_tables import method_details, methods_markdown, methods_table
from mmie.reports.methods import find_method_info, package_methods


def print_wide(content):
    """Print without folding, with single spaces."""
    console = Console(width=300)
    with console.capture() as capture:
        console.print(content)
    return " ".join(capture.get().split())


def test_the_table_has_the_published_f1_of_every_method():
    text = print_wide(methods_table(package_methods()))
    for method in package_methods():
        assert method.name in text
        for corpus in CORPORA:
            scores = method.cited.score(corpus)
            assert scores is None or f"{scores.f1:.2f}" in text
    assert "pretraining" in text
    assert "Chen et al. 2022" in text


def test_the_details_of_a_method_name_its_parents():
    text = print_wide(method_details(find_method_info("RSRNeT")))
    assert papers.RSRNET.title in text
    assert papers.RSRNET.remark in text
    assert "rsrnet_woRoB.yaml" in text
    assert "It takes the arguments of HVPNet and MultimodalModule and" in text


@pytest.mark.parametrize("method", package_methods(), ids=lambda method: method.name)
def test_the_details_of_a_method_hold_its_departures(method):
    departures = " ".join(method.departures.split())
    assert f"Departures from the paper {departures}" in print_wide(method_details(method))


def test_the_details_of_a_pretraining_have_no_results():
    text = print_wide(method_details(find_method_info("MLNetPretraining")))
    assert papers.MLNET.title in text
    assert "Published" not in text


def test_the_markdown_table_has_a_row_for_every_method():
    header, _, *rows = methods_markdown(package_methods()).splitlines()
    assert header.startswith("| class |")
    for method, row in zip(package_methods(), rows, strict=True):
        assert row.startswith(f"| `mmie.methods.{method.name}` |")


def test_the_readme_names_every_method():
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for method in package_methods():
        page = f"docs/methods/{method.module.rpartition('.')[2]}.md"
        assert (REPOSITORY / page).is_file()
        assert page in readme or method.is_pretraining
