"""``predictions.jsonl`` of tests and predictions."""

import shutil
from types import SimpleNamespace

import pytest
import torch
from helpers.command import (
    gold,
    metrics,
    predicted,
    predictions,
    read_jsonl,
    run,
    spans,
    succeed,
)
from helpers.fitted_runs import fit_options
from helpers.methods import build_data, make_batch

from mmie.training.prediction_writer import PredictionWriter, group_windows
from mmie.types import Entity, Prediction
from mmie.utils.files import digest_file


def gold_of_corpus(corpus, task):
    """Read ids and gold labels of the test split from its file, in its order."""
    posts = read_jsonl(corpus / "test.jsonl")
    if task == "ner":
        return [(post["id"], post["entities"]) for post in posts]
    return [(post["id"], relation) for post in posts for relation in post["relations"]]


def entity_f1(lines):
    """Compute micro F1 over entities."""
    num_right = 0
    num_entities = 0
    for line in lines:
        num_right += len(spans(predicted(line)) & spans(gold(line)))
        num_entities += len(spans(predicted(line))) + len(spans(gold(line)))
    return 2 * num_right / num_entities


def relation_f1(lines):
    """Compute micro F1 over all labels but None."""
    num_right = 0
    num_relations = 0
    for line in lines:
        gold_label, label = gold(line)[0]["label"], predicted(line)[0]["label"]
        num_right += gold_label == label != "None"
        num_relations += (gold_label != "None") + (label != "None")
    return 2 * num_right / num_relations


@pytest.mark.slow
@pytest.mark.parametrize(("task", "score"), [("ner", entity_f1), ("re", relation_f1)])
def test_the_test_score_follows_from_the_predictions(fitted_runs, demo_root, tmp_path, task, score):
    folder = shutil.copytree(fitted_runs / task, tmp_path / "run")
    names = ("config.yaml", "metrics.csv", "best.ckpt", "last.ckpt")
    before = {name: (folder / name).read_bytes() for name in names}
    outcome = succeed("test", *fit_options(demo_root, folder, task))
    lines = predictions(folder)
    expected = gold_of_corpus(demo_root, task)
    assert [line["id"] for line in lines] == [name for name, _ in expected]
    if task == "ner":
        assert [spans(gold(line)) for line in lines] == [spans(items) for _, items in expected]
    else:
        labels = [relation["label"] for _, relation in expected]
        assert [gold(line)[0]["label"] for line in lines] == labels
    section = metrics(folder)["test"]
    assert section["test/f1"] == pytest.approx(score(lines), abs=1e-7)
    assert section["test/f1"] > 0, "a model that finds nothing shows nothing"
    assert section["checkpoint"] == str(folder / "best.ckpt")
    assert f"{100 * section['test/f1']:.2f}" in outcome.out
    assert {name: (folder / name).read_bytes() for name in names} == before
    assert metrics(folder)["fit"] == metrics(fitted_runs / task)["fit"]
    assert section["count"] == section["instances"] == len(lines)
    assert section["predictions_sha256"] == digest_file(folder / "predictions.jsonl")


@pytest.mark.slow
def test_a_test_of_a_part_of_the_split_records_it(fitted_run, demo_root):
    part = "--trainer.limit_test_batches=1"
    outcome = succeed("test", *fit_options(demo_root, fitted_run), part)
    section, lines = metrics(fitted_run)["test"], predictions(fitted_run)
    num_instances = len(gold_of_corpus(demo_root, "ner"))
    assert section["count"] == len(lines) < section["instances"] == num_instances
    counts = f"{len(lines)} of {num_instances} instances were tested"
    assert counts in " ".join(outcome.out.split())
    outcome = run("compare", fitted_run, f"--out={fitted_run / 'comparison'}")
    assert outcome.status == 1
    assert f"was tested on {len(lines)} of {num_instances} instances" in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (fitted_run / "comparison").exists()


def test_predict_writes_the_same_as_test_to_a_file_of_its_own(fitted_run, demo_root):
    succeed("test", *fit_options(demo_root, fitted_run))
    section = metrics(fitted_run)["test"]
    outcome = succeed("predict", *fit_options(demo_root, fitted_run))
    lines = (fitted_run / "predictions.jsonl").read_bytes()
    assert (fitted_run / "unscored.jsonl").read_bytes() == lines
    sections = metrics(fitted_run)
    assert sections["test"] == section
    for name in ("count", "instances", "checkpoint_sha256", "split_sha256", "predictions_sha256"):
        assert sections["predict"][name] == section[name]
    assert "unscored.jsonl" in outcome.out


def test_predictions_name_words_and_pictures(fitted_run, demo_root):
    succeed("predict", *fit_options(demo_root, fitted_run), "--data.pictures=right")
    posts = read_jsonl(demo_root / "test.jsonl")
    for line, post in zip(read_jsonl(fitted_run / "unscored.jsonl"), posts, strict=True):
        assert line["words"] == post["words"]
        assert line["image"] == str(demo_root / post["image"])
        for entity in (*gold(line), *predicted(line)):
            words = post["words"][entity["start"] : entity["end"]]
            assert entity["text"] == " ".join(words)


def test_copies_that_do_not_count_are_left_out(demo_data, tiny_bert, tmp_path):
    # a sampler fills up the last batches of other processes with copies
    data = demo_data("ner", tiny_bert)
    instances = data.instances["test"][:3]
    trainer = SimpleNamespace(
        datamodule=data, default_root_dir=tmp_path, is_global_zero=True, fast_dev_run=False
    )
    index, counted = torch.tensor([2, 0, 2]), torch.tensor([True, True, False])
    batch = make_batch(data, instances, index=index, counted=counted)
    one_entity = Prediction("", (Entity(0, 1, "PER"),), probabilities=(0.5,))
    outputs = [one_entity, Prediction(""), Prediction("")]
    writer = PredictionWriter()
    writer.on_test_batch_end(trainer, None, {"predictions": outputs}, batch, 0)
    writer.on_test_end(trainer, None)
    lines = predictions(tmp_path)
    assert [line["id"] for line in lines] == [instances[row].post.id for row in (0, 2)]
    assert [spans(predicted(line)) for line in lines] == [set(), {(0, 1, "PER")}]
    num_instances = len(data.instances["test"])
    digest = digest_file(tmp_path / "predictions.jsonl")
    recorded = {"count": 2, "instances": num_instances, "predictions_sha256": digest}
    assert writer.written == recorded


def test_the_windows_of_a_post_have_one_line(demo_root, tiny_bert, tmp_path):
    data = build_data(demo_root, "ner", tiny_bert, long="windows", max_tokens=10)
    instances = data.instances["test"]
    groups = group_windows(instances)
    posts = data.corpus.posts("test")
    assert len(groups) == len(posts) < len(instances)
    trainer = SimpleNamespace(
        datamodule=data, default_root_dir=tmp_path, is_global_zero=True, fast_dev_run=False
    )
    writer = PredictionWriter()
    rows = groups[0] + groups[1][:-1]  # of the second post, the last window is not tested
    batch = make_batch(data, [instances[row] for row in rows], index=torch.tensor(rows))
    outputs = []
    for row in rows:
        entities = instances[row].post.entities
        outputs.append(Prediction("", entities, probabilities=(0.5,) * len(entities)))
    writer.on_test_batch_end(trainer, None, {"predictions": outputs}, batch, 0)
    writer.on_test_end(trainer, None)
    (line,) = predictions(tmp_path)
    assert (line["id"], line["words"]) == (posts[0].id, list(posts[0].words))
    assert spans(predicted(line)) == spans(gold(line)) != set()
    assert (writer.written["count"], writer.written["instances"]) == (1, len(posts))
