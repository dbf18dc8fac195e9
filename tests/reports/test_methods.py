"""`mmie methods`: the papers, what they report, and the README's table."""

import inspect
import json

import pytest
from helpers.command import run, succeed
from helpers.paths import CONFIGS, REPOSITORY

import mmie.methods
from mmie.methods import (
    ExtractionModule,
    HVPNet,
    MLNetPretraining,
    MultimodalModule,
    TextOnly,
    papers,
)
from mmie.methods.papers import CORPORA, Paper, Published, PublishedScores
from mmie.reports.methods import (
    MethodError,
    describe,
    find_listed,
    listed_methods,
    own_paper,
    public_path,
    render_markdown,
    switches,
)
from mmie.types import Encoding

PAPERS = {name: value for name, value in vars(papers).items() if isinstance(value, Paper)}
EXPORTED = {
    getattr(mmie.methods, name)
    for name in mmie.methods.__all__
    if not inspect.isabstract(getattr(mmie.methods, name))
}


class Theirs(TextOnly):
    """A method of one's own.

    It has a second paragraph.

    Args:
        schema: As ever.
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


class Unpublished(Theirs):
    """Another one."""


def own(methods):
    """Methods of the package alone; other tests import ones of their own."""
    return [method for method in methods if method in EXPORTED]


def test_all_methods_of_the_package_are_listed_once_and_by_year():
    listed = own(listed_methods())
    assert set(listed) == EXPORTED
    years = [method.paper.year for method in listed]
    assert years == sorted(years)
    assert len(listed) == len(set(listed))
    assert not {ExtractionModule, MultimodalModule} & set(listed_methods())


def test_every_paper_is_one_methods_and_every_method_has_one():
    assert {id(own_paper(method)) for method in EXPORTED - {MLNetPretraining}} == {
        id(p) for p in PAPERS.values()
    }
    assert own_paper(MLNetPretraining) is None
    assert MLNetPretraining.paper is papers.MLNET


def test_a_method_of_ones_own_is_listed_if_it_names_a_paper():
    assert Theirs in listed_methods()
    assert Unpublished not in listed_methods()
    assert find_listed("theirs") is Theirs
    assert find_listed(f"{__name__}.Unpublished") is Unpublished
    assert public_path(Theirs) == f"{__name__}.Theirs"


@pytest.mark.parametrize(
    "name", ["nope", "os.path", "os.nope", "nowhere.Nope", "mmie.methods.MultimodalModule", "."]
)
def test_a_name_that_is_no_methods_is_refused(name):
    with pytest.raises(
        MethodError, match=r"expected one of .*HVPNet.*, or the full path of a class"
    ):
        find_listed(name)


@pytest.mark.parametrize("paper", PAPERS.values(), ids=PAPERS)
def test_reported_numbers_can_be(paper):
    """Percent; F1 is the harmonic mean of what stands beside it, save in HVPNet's row for MNRE, printed otherwise."""
    for row in paper.published:
        assert row.task in paper.tasks
        values = [row.scores.f1, *row.by_type.values(), row.scores.precision, row.scores.recall]
        assert all(30 < value < 100 for value in values if value is not None)
        if row.scores.precision is not None:
            mean = (
                2
                * row.scores.precision
                * row.scores.recall
                / (row.scores.precision + row.scores.recall)
            )
            allowed = 0.4 if paper is papers.HVPNET and row.corpus == "MNRE" else 0.1
            assert abs(mean - row.scores.f1) < allowed, (row, mean)
    assert {row.corpus for row in paper.published} <= set(CORPORA)
    assert {row.task for row in paper.published} == set(paper.tasks)
    for scores in paper.ablations.values():
        assert set(scores) <= set(CORPORA)
        assert all(abs(paper.score(corpus).f1 - value) < 8 for corpus, value in scores.items())


def test_every_overlay_is_a_row_and_every_row_an_overlay():
    rows = [name for paper in PAPERS.values() for name in paper.ablations]
    assert sorted(rows) == sorted(file.stem for file in (CONFIGS / "ablations").glob("*.yaml"))


def test_the_setting_of_a_row():
    scores = PublishedScores(1.0, 2.0, 3.0)
    assert Published("MNRE", scores).setting == ""
    assert (
        Published("MNRE", scores, started_from="Twitter2017").setting == "weights from Twitter2017"
    )
    assert (
        Published("Twitter2017", scores, trained_on="Twitter2015").setting
        == "trained on Twitter2015"
    )
    assert papers.DGHC.score("Twitter2017").f1 == 87.35
    assert papers.DGHC.score("MNRE") is None


def test_switches_are_the_arguments_that_the_class_itself_names():
    scale, choice = switches(Theirs)
    assert (scale.name, scale.type, scale.default) == ("scale", "float | None", 1.0)
    assert scale.text == "Multiplies the states, all of them."
    assert (choice.name, choice.type, choice.default) == ("choice", "list[str]", ("a",))
    assert switches(Unpublished) == switches(TextOnly) == []
    found = {switch.name: switch for switch in switches(HVPNet)}
    assert found.keys() == {
        "variant",
        "mapping",
        "scales",
        "activation",
        "crop_activation",
        "use_image",
    }
    assert found["variant"].type == "Literal['paper', 'reference']"
    assert found["scales"].type == "Sequence[int]"


@pytest.mark.parametrize("method", sorted(EXPORTED, key=lambda method: method.__name__))
def test_every_switch_is_explained(method):
    assert [switch.name for switch in switches(method) if not switch.text] == []
    assert describe(method)["summary"].endswith(".")


def test_the_command_lists_methods_with_their_scores():
    lines = succeed("methods", "--json").out
    found = {entry["name"]: entry for entry in json.loads(lines)}
    assert found["RAP"]["paper"]["ablations"]["rap_wo_mrr"]["MNRE"] == 81.45
    assert found["MLNetPretraining"]["paper"] is None
    assert found["MLNetPretraining"]["url"] == papers.MLNET.url
    assert found["HVPNet"]["class"] == "mmie.methods.HVPNet"
    table = succeed("methods").out
    assert "pretraining" in table
    for paper in PAPERS.values():
        for corpus in CORPORA:
            scores = paper.score(corpus)
            assert scores is None or f"{scores.f1:.2f}" in table


def test_the_command_tells_all_of_a_method():
    out = " ".join(succeed("methods", "dGhC").out.split())
    for part in (
        papers.DGHC.url,
        "63.16",
        "trained on",
        "MISC",
        "38.93",
        "dghc_wo_gating.yaml",
        "73.50",
        "prompt_dim",
    ):
        assert part in out
    assert "RSRNeT" not in out
    both = succeed("methods", "rap", "rsrnet", "--json").out
    assert [entry["name"] for entry in json.loads(both)] == ["RAP", "RSRNeT"]
    assert "It takes the arguments of HVPNet and MultimodalModule and" in " ".join(
        succeed("methods", "rsrnet").out.split()
    )


def test_a_wrong_name_is_answered_with_one_line():
    outcome = run("methods", "nope")
    assert outcome.status == 1
    assert outcome.out == ""
    assert outcome.err.startswith("mmie: no method 'nope': expected one of TextOnly, HVPNet")
    assert outcome.err.count("\n") == 1


def test_the_readme_holds_the_table():
    """`mmie methods --markdown` prints it anew."""
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert render_markdown(own(listed_methods())) in readme
