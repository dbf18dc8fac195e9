"""Tables of methods."""

import inspect

import pytest
from helpers.paths import REPOSITORY
from rich.console import Console

import mmie.methods
from mmie.methods import MLNetPretraining, RSRNeT, papers
from mmie.methods.papers import CORPORA
from mmie.reports.method_tables import method_details, methods_markdown, methods_table
from mmie.reports.methods import departures_of, listed_methods


def package_methods():
    """List the methods of the package, without those of other tests."""
    exported = [getattr(mmie.methods, name) for name in mmie.methods.__all__]
    usable = [method for method in exported if not inspect.isabstract(method)]
    return [method for method in listed_methods() if method in usable]


def print_wide(content):
    """Print without folding, with single spaces."""
    console = Console(width=300)
    with console.capture() as capture:
        console.print(content)
    return " ".join(capture.get().split())


def test_the_table_has_the_published_f1_of_every_method():
    text = print_wide(methods_table(package_methods()))
    for method in package_methods():
        assert method.__name__ in text
        for corpus in CORPORA:
            scores = method.paper.score(corpus)
            assert scores is None or f"{scores.f1:.2f}" in text
    assert "pretraining" in text
    assert "Chen et al. 2022" in text


def test_the_details_of_a_method_name_its_parents():
    text = print_wide(method_details(RSRNeT))
    assert papers.RSRNET.title in text
    assert papers.RSRNET.remark in text
    assert "rsrnet_woRoB.yaml" in text
    assert "It takes the arguments of HVPNet and MultimodalModule and" in text


@pytest.mark.parametrize("method", package_methods(), ids=lambda method: method.__name__)
def test_the_details_of_a_method_hold_its_departures(method):
    departures = " ".join(departures_of(method).split())
    assert f"Departures from the paper {departures}" in print_wide(method_details(method))


def test_the_details_of_a_pretraining_have_no_results():
    text = print_wide(method_details(MLNetPretraining))
    assert papers.MLNET.title in text
    assert "Published" not in text


def test_the_markdown_table_has_a_row_for_every_method():
    header, _, *rows = methods_markdown(package_methods()).splitlines()
    assert header.startswith("| class |")
    for method, row in zip(package_methods(), rows, strict=True):
        assert row.startswith(f"| `mmie.methods.{method.__name__}` |")


def test_the_readme_names_every_method():
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for method in package_methods():
        page = f"docs/methods/{method.__module__.rpartition('.')[2]}.md"
        assert (REPOSITORY / page).is_file()
        assert page in readme or issubclass(method, MLNetPretraining)
