"""Reading of run folders, with folders written by hand."""

import json

import pytest
from helpers.run_folders import change_metrics, entity, fit_section, prediction_line, write_run

from mmie.runs import RunError, find_runs, read_predictions, read_run
from mmie.types import Entity


def test_a_run_has_the_cost_and_the_scores_of_its_fit(tmp_path):
    other_pictures = {"test_shuffled": {"test/f1": 0.25}}
    run = read_run(write_run(tmp_path / "run", seed=7, sections=other_pictures))
    assert (run.method, run.corpus, run.seed, run.trained_on) == ("RAP", "Twitter2017", 7, None)
    assert (run.pictures, run.other_pictures) == ("right", {"shuffled": 0.25})
    assert run.fit.samples_per_second == pytest.approx(200 / 100)
    assert run.fit.minutes_to_best == pytest.approx(2)
    assert (run.fit.parameters, run.fit.trained, run.fit.curve) == (10, 4, (0.25, 0.75))
    assert run.settings["model.text_lr"] == 0.1
    assert not [name for name in run.settings if "corpus" in name or "num_workers" in name]


def test_a_test_on_another_corpus_names_the_corpus_of_the_training(tmp_path):
    trained = write_run(tmp_path / "trained", corpus="mmie.data.Twitter2015")
    tested = write_run(tmp_path / "tested", corpus="mmie.data.Twitter2017")
    test = json.loads((tested / "metrics.json").read_text())["test"]
    change_metrics(tested, fit=None, test={**test, "checkpoint": str(trained / "best.ckpt")})
    run = read_run(tested)
    assert run.trained_on == "Twitter2015"
    assert run.fit is not None


def test_predictions_of_both_tasks_have_one_form(tmp_path):
    head, tail = entity(0, "PER"), entity(3, "LOC")
    relation = {"head": head, "tail": tail, "label": "/per/loc/at"}
    line = prediction_line("1", [], [])
    del line["entities"]
    line["relations"] = [{**relation, "label": "None"}]
    line["gold"] = {"relations": [relation]}
    record = read_predictions(read_run(write_run(tmp_path / "re", [line], task="re")))[0]
    assert record.gold == (Entity(0, 1, "/per/loc/at"),)
    assert record.predicted == ()
    assert record.arguments == (Entity(0, 1, "PER"), Entity(3, 4, "LOC"))
    record = read_predictions(read_run(write_run(tmp_path / "ner")))[0]
    assert record.gold == (Entity(0, 1, "PER"), Entity(3, 4, "LOC"))


def test_folders_and_globs_are_expanded_and_untested_runs_are_named(tmp_path):
    for name in ("sweep/a/seed_1", "sweep/a/seed_2", "other"):
        write_run(tmp_path / name)
    untested = write_run(tmp_path / "sweep/b")
    (untested / "metrics.json").write_text(json.dumps({"fit": fit_section()}))
    assert [run.folder.name for run in find_runs([tmp_path / "other"])[0]] == ["other"]
    runs, waiting = find_runs([tmp_path / "sweep", tmp_path / "sweep" / "a" / "seed_1"])
    assert [run.folder.name for run in runs] == ["seed_1", "seed_2"]
    assert waiting == [untested]
    assert len(find_runs([str(tmp_path / "*" / "a" / "*")])[0]) == 2
    assert len(find_runs([str(tmp_path / "**" / "seed_*")])[0]) == 2


def test_a_folder_without_a_tested_run_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    untested = write_run(tmp_path / "untested")
    (untested / "metrics.json").write_text("{}")
    for name in ("empty", "file", "untested", "nowhere", "no*glob"):
        with pytest.raises(RunError, match="holds no tested run"):
            find_runs([str(tmp_path / name)])


@pytest.mark.parametrize(
    ("name", "content"), [("config.yaml", "[1, 2]"), ("config.yaml", ""), ("metrics.json", "[]")]
)
def test_a_damaged_run_is_not_called_untested(tmp_path, name, content):
    write_run(tmp_path / "runs" / "whole")
    damaged = write_run(tmp_path / "runs" / "damaged")
    (damaged / name).write_text(content)
    for source in (damaged, tmp_path / "runs"):
        with pytest.raises(RunError, match=rf"damaged/{name} is damaged"):
            find_runs([str(source)])


def test_malformed_predictions_are_an_error(tmp_path):
    folder = write_run(tmp_path / "run")
    (folder / "predictions.jsonl").write_text('{"id": "1"}\n')
    with pytest.raises(RunError, match=r"predictions\.jsonl:1: expected"):
        read_predictions(read_run(folder))


def test_a_pretraining_is_no_tested_run(tmp_path):
    folder = write_run(tmp_path / "run")
    (folder / "metrics.json").write_text(json.dumps({"test": {"test/loss": 1.0}}))
    with pytest.raises(RunError):
        read_run(folder)


def test_a_run_names_the_fit_whose_weights_it_started_from(tmp_path):
    start = write_run(tmp_path / "start", corpus="mmie.data.MNRE", task="re", prompt_length=8)
    change_metrics(start, test=None)
    run = read_run(write_run(tmp_path / "run", init_from=str(start / "best.ckpt")))
    assert (run.start.class_path, run.start.corpus) == ("mmie.methods.RAP", "MNRE")
    assert run.start.settings["model.prompt_length"] == 8
    assert read_run(start.parent / "run").edition is None
    named_by_folder = write_run(tmp_path / "folder", init_from=str(start))
    assert read_run(named_by_folder).start == run.start
    unknown = write_run(tmp_path / "unknown", init_from=str(tmp_path / "gone" / "best.ckpt"))
    assert read_run(unknown).start is None
