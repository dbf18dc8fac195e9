"""A run scored on another corpus than it was trained on, by the command."""

import hashlib
import shutil

import pytest
import yaml
from helpers.command import (
    gold,
    metrics,
    predicted,
    predictions,
    read_jsonl,
    run,
    spans,
    succeed,
    tiny_options,
    write_jsonl,
)

from mmie.data import JsonlCorpus, MultimodalDataModule, Twitter2015, Twitter2017
from mmie.data.corpora.base import CorpusError
from mmie.data.demo import write_demo

SHORT = ["--trainer.limit_train_batches=3", "--trainer.limit_val_batches=1"]


@pytest.fixture(scope="module")
def other_root(tmp_path_factory):
    """A demo corpus of another seed, with an encoder of its own."""
    root = tmp_path_factory.mktemp("other") / "other"
    write_demo(root, train=16, valid=8, test=8, seed=7)
    return root


@pytest.fixture(scope="module")
def fitted(demo_root, tmp_path_factory):
    """Options of the configuration and the run folder of a short fit on the first corpus."""
    folder = tmp_path_factory.mktemp("runs") / "a"
    options = tiny_options("text_only", demo_root, folder)
    succeed("fit", *options, *SHORT)
    return options, folder


@pytest.fixture
def relabelled(other_root, tmp_path):
    """Copies the other corpus's texts with its entity types renamed; None leaves an entity out."""

    def relabelled(names, splits=("train", "valid", "test")):
        for split in splits:
            posts = read_jsonl(other_root / f"{split}.jsonl")
            for post in posts:
                kept = [
                    entity
                    for entity in post["entities"]
                    if names.get(entity["type"], "") is not None
                ]
                post["entities"] = [
                    {**entity, "type": names.get(entity["type"], entity["type"])} for entity in kept
                ]
            bare = [{**post, "image": None, "crops": [], "relations": []} for post in posts]
            write_jsonl(tmp_path / "texts" / f"{split}.jsonl", bare)
        return tmp_path / "texts"

    return relabelled


def digests(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def cross(fitted, corpus, run_dir, *extra):
    """Options that score the run on another corpus, the rest of its configuration as it was."""
    options, folder = fitted
    return [
        *options,
        f"--data.corpus.root={corpus}",
        f"--ckpt_path={folder / 'best.ckpt'}",
        f"--run_dir={run_dir}",
        *extra,
    ]


def test_scores_and_predictions_land_in_the_new_folder_and_the_old_one_is_untouched(
    fitted, other_root, tmp_path
):
    before = digests(fitted[1])
    succeed("test", *cross(fitted, other_root, tmp_path / "b"))
    assert digests(fitted[1]) == before
    assert {path.name for path in (tmp_path / "b").iterdir()} == {
        "config.yaml",
        "metrics.json",
        "predictions.jsonl",
    }
    assert metrics(tmp_path / "b").keys() == {"test"}
    assert metrics(tmp_path / "b")["test"]["checkpoint"] == str(fitted[1] / "best.ckpt")
    asked = [post["id"] for post in read_jsonl(other_root / "test.jsonl")]
    assert [line["id"] for line in predictions(tmp_path / "b")] == asked
    assert yaml.safe_load((tmp_path / "b" / "config.yaml").read_text())["data"]["corpus"][
        "init_args"
    ]["root"] == str(other_root)
    table = succeed("compare", tmp_path / "b", f"--out={tmp_path / 'comparison'}").out
    assert "TextOnly" in table


def test_the_own_corpus_scores_as_without_a_new_folder(fitted, demo_root, tmp_path):
    succeed("test", *cross(fitted, demo_root, tmp_path / "b"))
    copy = tmp_path / "copy"
    shutil.copytree(fitted[1], copy)
    succeed("test", *fitted[0], f"--run_dir={copy}")
    assert predictions(tmp_path / "b") == predictions(copy)


@pytest.mark.parametrize("order", [["PER", "ORG", "MISC", "LOC"], ["MISC", "LOC", "PER", "ORG"]])
def test_types_in_another_order_are_read_in_the_models(fitted, other_root, tmp_path, order):
    succeed("test", *cross(fitted, other_root, tmp_path / "b"))
    given = f"--data.corpus.entity_types={order}"
    succeed("test", *cross(fitted, other_root, tmp_path / "c", given))
    assert predictions(tmp_path / "b") == predictions(tmp_path / "c")


def test_a_corpus_with_fewer_types_is_scored(fitted, relabelled, tmp_path):
    root = relabelled({"MISC": None, "ORG": None})
    succeed("test", *cross(fitted, root, tmp_path / "b"))
    types = {entity["type"] for line in predictions(tmp_path / "b") for entity in gold(line)}
    assert types == {"PER", "LOC"}
    assert {name for name in metrics(tmp_path / "b")["test"] if "/f1/" in name} == {
        f"test/f1/{name}" for name in ("LOC", "MISC", "ORG", "PER")
    }


def test_types_that_the_model_does_not_know_count_as_gold(fitted, other_root, tmp_path, recwarn):
    """A further type in the corpus lowers recall, and is named with its count."""
    posts = {split: read_jsonl(other_root / f"{split}.jsonl") for split in ("train", "test")}
    counts = {}
    for split, lines in posts.items():
        for post in lines:
            post["relations"], post["image"], post["crops"] = [], None, []
            taken = {place for e in post["entities"] for place in range(e["start"], e["end"])}
            free = next(place for place in range(len(post["words"])) if place not in taken)
            post["entities"].append({"start": free, "end": free + 1, "type": "EVENT"})
        write_jsonl(tmp_path / "more" / f"{split}.jsonl", lines)
        counts[split] = len(lines)
    succeed("test", *cross(fitted, tmp_path / "more", tmp_path / "more_run"))
    said = [str(warning.message) for warning in recwarn]
    assert any(
        f"the model does not know, and so cannot find: EVENT ({counts['test']})" in line
        for line in said
    )
    lines = predictions(tmp_path / "more_run")
    num_gold = sum(len(gold(line)) for line in lines)
    right = sum(len(spans(predicted(line)) & spans(gold(line))) for line in lines)
    assert sum(e["type"] == "EVENT" for line in lines for e in gold(line)) == counts["test"]
    assert metrics(tmp_path / "more_run")["test"]["test/recall"] == pytest.approx(right / num_gold)


def test_a_corpus_without_a_training_split_is_scored(fitted, relabelled, tmp_path, recwarn):
    root = relabelled({}, splits=("test",))
    succeed("test", *cross(fitted, root, tmp_path / "b"))
    assert not any("never predicted" in str(warning.message) for warning in recwarn)
    assert len(predictions(tmp_path / "b")) == 8


@pytest.mark.parametrize(
    "names", [{"PER": "person"}, {"PER": "a", "LOC": "b", "ORG": "c", "MISC": "d"}]
)
def test_types_of_other_names_are_refused_in_one_line(fitted, relabelled, tmp_path, names):
    outcome = run("test", *cross(fitted, relabelled(names), tmp_path / "b"))
    assert outcome.status in (1, 2)
    assert outcome.err.count("\n") == 1
    for word in ("LOC, MISC, ORG, PER", *names.values(), "one side must hold all of the other's"):
        assert word in outcome.err
    assert not (tmp_path / "b").exists()


def test_another_task_is_refused_in_one_line(fitted, other_root, tmp_path):
    outcome = run("test", *cross(fitted, other_root, tmp_path / "b", "--data.task=re"))
    assert outcome.err.startswith("mmie: the checkpoint was trained with task ner, the run has re")
    assert not (tmp_path / "b").exists()


def test_another_vocabulary_is_refused_in_one_line(fitted, demo_root, other_root, tmp_path):
    """Of the same size, where nothing but the answers would show it."""
    encoder = tmp_path / "encoder"
    shutil.copytree(demo_root / "encoder", encoder)
    content = (encoder / "tokenizer.json").read_text(encoding="utf-8")
    words = yaml.safe_load(content)["model"]["vocab"]
    first, second = [word for word in words if word.isalpha() and len(word) > 4][:2]
    swapped = content.replace(f'"{first}": {words[first]}', f'"{first}": {words[second]}')
    swapped = swapped.replace(f'"{second}": {words[second]}', f'"{second}": {words[first]}')
    assert swapped != content
    (encoder / "tokenizer.json").write_text(swapped, encoding="utf-8")
    outcome = run(
        "test",
        *cross(fitted, other_root, tmp_path / "b", f"--model.init_args.text_encoder={encoder}"),
    )
    assert outcome.status == 1
    assert "trained with another vocabulary" in outcome.err.splitlines()[-1]
    assert not (tmp_path / "b" / "metrics.json").exists()


def test_a_corpus_with_nothing_for_the_task_is_refused(fitted, relabelled, tmp_path):
    root = relabelled(dict.fromkeys(("PER", "LOC", "ORG", "MISC")))
    outcome = run("test", *cross(fitted, root, tmp_path / "b"))
    assert "has nothing for task ner" in outcome.err


def test_labels_of_the_two_twitter_corpora_are_the_same(shared_data, tiny_bert):
    corpora = [Twitter2015(shared_data / "twitter2015"), Twitter2017(shared_data / "twitter2017")]
    schemas = [
        MultimodalDataModule(corpus, "ner", tiny_bert, max_tokens=64).schema for corpus in corpora
    ]
    assert schemas[0] == schemas[1]
    labels = list(schemas[0].labels)
    assert (
        MultimodalDataModule(corpora[1], "ner", tiny_bert, max_tokens=64, labels=labels).schema
        == schemas[0]
    )


def test_relation_labels_are_held_against_each_other_without_none(demo_root, tiny_bert):
    corpus = JsonlCorpus(demo_root)
    known = corpus.relation_labels
    data = MultimodalDataModule(corpus, "re", tiny_bert, labels=["None", *reversed(known[1:])])
    data.setup("test")
    assert data.schema.labels == ("None", *reversed(known[1:]))
    with pytest.raises(CorpusError, match="one side must hold"):
        MultimodalDataModule(corpus, "re", tiny_bert, labels=["None", "/per/org/elsewhere"])
