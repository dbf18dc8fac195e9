"""Facts about methods from their classes."""

import inspect
import json

import pytest
from helpers.paths import PACKAGE

import mmie.methods
from mmie.methods import (
    ExtractionModule,
    HVPNet,
    MLNetPretraining,
    MultimodalModule,
    TextOnly,
    papers,
)
from mmie.methods.papers import Paper
from mmie.reports.method_classes import build_table, describe_class, imported_methods, is_usable
from mmie.reports.methods import TABLE, find_method_info, find_paper, listed_methods
from mmie.types import Encoding

EXPORTED = {
    getattr(mmie.methods, name)
    for name in mmie.methods.__all__
    if not inspect.isabstract(getattr(mmie.methods, name))
}
PAPERS = {name: value for name, value in vars(papers).items() if isinstance(value, Paper)}


class CustomMethod(TextOnly):
    """A method outside
    the package.

    It has a second paragraph.

    Args:
        schema: Task and labels.
        scale: Multiplies the states,
            all of them.
        choice: One of two.
        **shared: See `TextOnly`.
    """

    paper = Paper("Ours", "Us", "Here", 2026, "https://example.org", "none", "BERT", ("ner",), ())

    def __init__(self, schema, scale: float | None = 1.0, choice: list[str] = ("a",), **shared):
        super().__init__(schema, **shared)

    def encode(self, batch):
        return Encoding(self.encode_text(batch))


class Unpublished(CustomMethod):
    """A subclass that names no paper itself."""


def test_the_table_is_that_of_the_classes():
    """Write it again with ``make options`` if this fails."""
    assert json.loads((PACKAGE / "reports" / TABLE).read_text("utf-8")) == build_table()


def test_all_methods_of_the_package_are_in_the_table():
    assert {record["name"] for record in build_table()} == {cls.__name__ for cls in EXPORTED}
    assert not is_usable(ExtractionModule)
    assert not is_usable(MultimodalModule)


def test_facts_from_the_table_are_those_from_the_class():
    for method in EXPORTED:
        read, described = find_method_info(method.__name__), describe_class(method)
        assert read.to_dict() == json.loads(json.dumps(described.to_dict())) | {
            "paper": described.to_dict()["paper"]
        }
        assert (read.paper, read.cited) == (described.paper, described.cited)


def test_every_method_has_a_paper_and_every_paper_one_method():
    found = {id(describe_class(method).paper) for method in EXPORTED - {MLNetPretraining}}
    assert found == {id(paper) for paper in PAPERS.values()}
    pretraining = describe_class(MLNetPretraining)
    assert (pretraining.paper, pretraining.cited) == (None, papers.MLNET)
    assert pretraining.is_pretraining
    assert not describe_class(HVPNet).is_pretraining


def test_a_method_outside_the_package_is_listed_if_it_names_a_paper():
    assert [method.name for method in imported_methods() if method.module == __name__] == [
        "CustomMethod"
    ]
    names = [method.path for method in listed_methods()]
    assert f"{__name__}.CustomMethod" in names
    assert f"{__name__}.Unpublished" not in names
    assert find_method_info("custommethod").path == f"{__name__}.CustomMethod"
    assert find_method_info(f"{__name__}.Unpublished").name == "Unpublished"
    assert find_paper(f"{__name__}.Unpublished") is None


def test_switches_are_the_arguments_that_the_class_itself_names():
    scale, choice = describe_class(CustomMethod).switches
    assert (scale.name, scale.type, scale.default) == ("scale", "float | None", 1.0)
    assert scale.text == "Multiplies the states, all of them."
    assert (choice.name, choice.type, choice.default) == ("choice", "list[str]", ("a",))
    assert describe_class(Unpublished).switches == describe_class(TextOnly).switches == ()
    found = {switch.name: switch for switch in describe_class(HVPNet).switches}
    assert found.keys() == {
        "variant",
        "mapping",
        "scales",
        "pool_to",
        "activation",
        "crop_activation",
        "use_image",
        "missing_crops",
    }
    assert found["variant"].type == "Literal['paper', 'reference']"
    assert found["scales"].type == "Sequence[int]"


@pytest.mark.parametrize("method", sorted(EXPORTED, key=lambda method: method.__name__))
def test_every_switch_is_explained(method):
    assert [switch.name for switch in describe_class(method).switches if not switch.text] == []
    assert describe_class(method).to_dict()["summary"].endswith(".")


@pytest.mark.parametrize("method", sorted(EXPORTED, key=lambda method: method.__name__))
def test_every_method_says_where_it_departs_from_its_paper(method):
    departures = describe_class(method).departures
    items = [line for line in departures.splitlines() if line.startswith("- ")]
    assert len(items) >= 3
    for line in departures.splitlines():
        assert not line or line[0].isupper() or line.startswith("- ")
        assert not line or line.endswith((".", ":"))
    assert describe_class(method).to_dict()["departures"] == departures


def test_a_method_whose_module_says_nothing_has_no_departures():
    assert describe_class(CustomMethod).departures == ""


def test_the_summary_is_the_first_paragraph_in_one_line():
    assert describe_class(CustomMethod).summary == "A method outside the package."


def test_parents_are_the_classes_whose_arguments_are_taken_as_well():
    assert describe_class(Unpublished).parents[0] == "CustomMethod"
    assert describe_class(HVPNet).parents[-1] == "ExtractionModule"


def test_a_method_is_described_in_plain_values():
    description = json.loads(json.dumps(describe_class(CustomMethod).to_dict()))
    assert description["name"] == "CustomMethod"
    assert description["class"] == f"{__name__}.CustomMethod"
    assert description["url"] == description["paper"]["url"] == "https://example.org"
    assert [switch["name"] for switch in description["switches"]] == ["scale", "choice"]
    assert describe_class(Unpublished).to_dict()["paper"] is None
