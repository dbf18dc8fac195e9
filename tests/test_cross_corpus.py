"""A run that is scored on another corpus than it was trained on, through the command."""

import hashlib
import shutil
from types import SimpleNamespace

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

pytestmark = pytest.mark.slow

SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def other_root(tmp_path_factory):
    """Folder of a demo corpus of another seed, with an encoder of its own."""
    root = tmp_path_factory.mktemp("other") / "other"
    write_demo(root, train=16, valid=8, test=8, seed=7)
    return root


@pytest.fixture(scope="module")
def fitted(demo_root, tmp_path_factory):
    """Run folder of a short fit on the first corpus, and its options."""
    run_dir = tmp_path_factory.mktemp("runs") / "a"
    options = tiny_options("text_only", demo_root, run_dir)
    few_batches = ["--trainer.limit_train_batches=3", "--trainer.limit_val_batches=1"]
    succeed("fit", *options, *few_batches)
    return SimpleNamespace(run_dir=run_dir, options=options)


@pytest.fixture
def relabel(other_root, tmp_path):
    """Function that copies the other corpus's texts and renames entity types.

    A type that is renamed to None is left out.
    """

    def relabel(names, splits=SPLITS):
        for split in splits:
            posts = read_jsonl(other_root / f"{split}.jsonl")
            for post in posts:
                entities = []
                for entity in post["entities"]:
                    name = names.get(entity["type"], entity["type"])
                    if name is not None:
                        entities.append({**entity, "type": name})
                post.update(entities=entities, image=None, crops=[], relations=[])
            write_jsonl(tmp_path / "texts" / f"{split}.jsonl", posts)
        return tmp_path / "texts"

    return relabel


def digests(folder):
    """Compute a digest of each file below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def cross_options(fitted, corpus, run_dir):
    """Return the options that score the run on another corpus and change nothing else."""
    return [
        *fitted.options,
        f"--data.corpus.root={corpus}",
        f"--ckpt_path={fitted.run_dir / 'best.ckpt'}",
        f"--run_dir={run_dir}",
    ]


def test_results_go_to_a_new_folder_and_the_old_one_is_unchanged(fitted, other_root, tmp_path):
    run_dir = tmp_path / "b"
    before = digests(fitted.run_dir)
    succeed("test", *cross_options(fitted, other_root, run_dir))
    assert digests(fitted.run_dir) == before
    written = {path.name for path in run_dir.iterdir()}
    assert written == {"config.yaml", "metrics.json", "predictions.jsonl"}
    assert metrics(run_dir).keys() == {"sha256", "test"}
    assert metrics(run_dir)["test"]["checkpoint"] == str(fitted.run_dir / "best.ckpt")
    ids = [post["id"] for post in read_jsonl(other_root / "test.jsonl")]
    assert [line["id"] for line in predictions(run_dir)] == ids
    config = yaml.safe_load((run_dir / "config.yaml").read_text())
    assert config["data"]["corpus"]["init_args"]["root"] == str(other_root)
    table = succeed("compare", run_dir, f"--out={tmp_path / 'comparison'}").out
    assert "TextOnly" in table


def test_the_own_corpus_has_the_same_predictions_in_a_new_folder(fitted, demo_root, tmp_path):
    succeed("test", *cross_options(fitted, demo_root, tmp_path / "b"))
    copy = shutil.copytree(fitted.run_dir, tmp_path / "copy")
    succeed("test", *fitted.options, f"--run_dir={copy}")
    assert predictions(tmp_path / "b") == predictions(copy)


@pytest.mark.parametrize("order", [["PER", "ORG", "MISC", "LOC"], ["MISC", "LOC", "PER", "ORG"]])
def test_the_order_of_types_is_that_of_the_model(fitted, other_root, tmp_path, order):
    succeed("test", *cross_options(fitted, other_root, tmp_path / "b"))
    reordered = f"--data.corpus.entity_types={order}"
    succeed("test", *cross_options(fitted, other_root, tmp_path / "c"), reordered)
    assert predictions(tmp_path / "b") == predictions(tmp_path / "c")


def test_a_corpus_with_fewer_types_is_scored(fitted, relabel, tmp_path):
    root = relabel({"MISC": None, "ORG": None})
    succeed("test", *cross_options(fitted, root, tmp_path / "b"))
    gold_entities = [entity for line in predictions(tmp_path / "b") for entity in gold(line)]
    assert {entity["type"] for entity in gold_entities} == {"PER", "LOC"}
    names = {name for name in metrics(tmp_path / "b")["test"] if "/f1/" in name}
    assert names == {f"test/f1/{name}" for name in ("LOC", "MISC", "ORG", "PER")}


def first_free_word(post):
    """Return the index of the first word that is part of no entity."""
    taken = set()
    for entity in post["entities"]:
        taken.update(range(entity["start"], entity["end"]))
    return min(set(range(len(post["words"]))) - taken)


def test_types_that_are_new_to_the_model_count_as_gold(fitted, other_root, tmp_path, recwarn):
    # a further type in the corpus lowers recall, and is named with its count
    for split in ("train", "test"):
        posts = read_jsonl(other_root / f"{split}.jsonl")
        for post in posts:
            start = first_free_word(post)
            post["entities"].append({"start": start, "end": start + 1, "type": "EVENT"})
            post.update(relations=[], image=None, crops=[])
        write_jsonl(tmp_path / "more" / f"{split}.jsonl", posts)
    num_posts = len(posts)
    run_dir = tmp_path / "more_run"
    succeed("test", *cross_options(fitted, tmp_path / "more", run_dir))
    message = f"the model does not know, and so cannot find: EVENT ({num_posts})"
    assert any(message in str(warning.message) for warning in recwarn)
    num_gold = 0
    num_events = 0
    num_right = 0
    for line in predictions(run_dir):
        num_gold += len(gold(line))
        num_events += sum(entity["type"] == "EVENT" for entity in gold(line))
        num_right += len(spans(predicted(line)) & spans(gold(line)))
    assert num_events == num_posts
    assert metrics(run_dir)["test"]["test/recall"] == pytest.approx(num_right / num_gold)


def test_a_corpus_without_a_training_split_is_scored(fitted, relabel, tmp_path, recwarn):
    root = relabel({}, splits=("test",))
    succeed("test", *cross_options(fitted, root, tmp_path / "b"))
    assert not any("never predicted" in str(warning.message) for warning in recwarn)
    assert len(predictions(tmp_path / "b")) == 8


@pytest.mark.parametrize(
    "names", [{"PER": "person"}, {"PER": "a", "LOC": "b", "ORG": "c", "MISC": "d"}]
)
def test_types_of_other_names_are_refused_in_one_line(fitted, relabel, tmp_path, names):
    outcome = run("test", *cross_options(fitted, relabel(names), tmp_path / "b"))
    assert outcome.status in (1, 2)
    assert outcome.err.count("\n") == 1
    for word in ("LOC, MISC, ORG, PER", *names.values(), "one side must hold all of the other's"):
        assert word in outcome.err
    assert not (tmp_path / "b").exists()


def test_another_task_is_refused_in_one_line(fitted, other_root, tmp_path):
    outcome = run("test", *cross_options(fitted, other_root, tmp_path / "b"), "--data.task=re")
    assert outcome.err.startswith("mmie: the checkpoint was trained with task ner, the run has re")
    assert not (tmp_path / "b").exists()


def test_another_vocabulary_is_refused_in_one_line(fitted, demo_root, other_root, tmp_path):
    # the vocabularies have one size: without the check, only the predictions would reveal it
    encoder = shutil.copytree(demo_root / "encoder", tmp_path / "encoder")
    content = (encoder / "tokenizer.json").read_text(encoding="utf-8")
    ids = yaml.safe_load(content)["model"]["vocab"]
    first, second = [word for word in ids if word.isalpha() and len(word) > 4][:2]
    swapped = content.replace(f'"{first}": {ids[first]}', f'"{first}": {ids[second]}')
    swapped = swapped.replace(f'"{second}": {ids[second]}', f'"{second}": {ids[first]}')
    assert swapped != content
    (encoder / "tokenizer.json").write_text(swapped, encoding="utf-8")
    options = cross_options(fitted, other_root, tmp_path / "b")
    outcome = run("test", *options, f"--model.init_args.text_encoder={encoder}")
    assert outcome.status == 1
    assert "trained with another vocabulary" in outcome.err.splitlines()[-1]
    assert not (tmp_path / "b" / "metrics.json").exists()


def test_a_corpus_without_labels_for_the_task_is_refused(fitted, relabel, tmp_path):
    root = relabel(dict.fromkeys(("PER", "LOC", "ORG", "MISC")))
    outcome = run("test", *cross_options(fitted, root, tmp_path / "b"))
    assert "has nothing for task ner" in outcome.err


def test_the_two_twitter_corpora_have_the_same_labels(shared_data, tiny_bert):
    def schema_of(corpus, **settings):
        return MultimodalDataModule(corpus, "ner", tiny_bert, max_tokens=64, **settings).schema

    twitter2017 = Twitter2017(shared_data / "twitter2017")
    schema = schema_of(Twitter2015(shared_data / "twitter2015"))
    assert schema_of(twitter2017) == schema
    assert schema_of(twitter2017, labels=list(schema.labels)) == schema


def test_relation_labels_are_compared_without_none(demo_root, tiny_bert):
    corpus = JsonlCorpus(demo_root)
    none, *labels = corpus.relation_labels
    assert none == "None"
    reordered = ["None", *reversed(labels)]
    data = MultimodalDataModule(corpus, "re", tiny_bert, labels=reordered)
    data.setup("test")
    assert data.schema.labels == tuple(reordered)
    with pytest.raises(CorpusError, match="one side must hold"):
        MultimodalDataModule(corpus, "re", tiny_bert, labels=["None", "/per/org/elsewhere"])
