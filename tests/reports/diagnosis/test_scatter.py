"""Scatter plots of a split."""

import pytest

from mmie.reports.diagnosis.diagnosis import diagnose
from mmie.reports.diagnosis.scatter import scatter_plots


def test_entities_are_points_with_their_gold_label(build_target):
    target = build_target("text_only")
    diagnoses = diagnose(target, target.instances)
    (plot,) = scatter_plots(diagnoses)
    expected = []
    for instance in target.instances:
        for entity in instance.post.entities:
            expected.append(f"{entity.type}: {' '.join(instance.post.words)}")
    assert [point["title"] for point in plot["points"]] == expected
    assert all(point["uri"] is None for point in plot["points"])
    labels = {entity.type for instance in target.instances for entity in instance.post.entities}
    assert {name for name, _ in plot["legend"]} == labels
    assert all(0 <= point["x"] <= 1 and 0 <= point["y"] <= 1 for point in plot["points"])


def test_pairs_are_points_with_their_relation(build_target):
    target = build_target("text_only", "re")
    (plot,) = scatter_plots(diagnose(target, target.instances))
    labels = [point["title"].partition(":")[0] for point in plot["points"]]
    assert labels == [instance.relation.label for instance in target.instances]


def test_routing_vectors_are_shown_as_pictures(build_target):
    target = build_target("rap")
    routing, *_ = scatter_plots(diagnose(target, target.instances))
    assert routing["caption"] == "Routing vectors of posts"
    assert [point["uri"] is None for point in routing["points"]] == [
        instance.views[0] is None for instance in target.instances
    ]


@pytest.mark.parametrize("task", ["ner", "re"])
def test_a_run_without_prompting_has_a_plot_of_its_vectors(build_target, task):
    target, other = build_target("rap", task), build_target("rap", task, prompting=False)
    diagnoses = diagnose(target, target.instances)
    alone = scatter_plots(diagnoses)
    assert [plot["caption"] for plot in alone] == ["Routing vectors of posts", "What is classified"]
    *_, prompted, unprompted = scatter_plots(diagnoses, diagnose(other, other.instances))
    assert unprompted["caption"] == "What is classified in the run without prompting"
    titles = [[point["title"] for point in plot["points"]] for plot in (prompted, unprompted)]
    assert titles[0] == titles[1]
    assert unprompted["legend"] == prompted["legend"]
    places = [[(p["x"], p["y"]) for p in plot["points"]] for plot in (prompted, unprompted)]
    assert places[0] != places[1]


def test_few_points_have_no_plot(build_target):
    target = build_target("text_only")
    assert scatter_plots(diagnose(target, target.instances[:3])) == []
