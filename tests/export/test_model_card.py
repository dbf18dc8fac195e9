"""The card states task, paper and scores of a checkpoint, and its code runs."""

import ast
import json

import torch
import yaml

from mmie.data import DemoCorpus
from mmie.export.model_card import front_matter
from mmie.export.pretrained import save_pretrained
from mmie.export.run_facts import RunFacts
from mmie.methods import TextOnly
from mmie.methods.loading import load_method


def read_card(checkpoint, folder):
    """The card of a saved checkpoint."""
    return (save_pretrained(checkpoint, folder) / "README.md").read_text()


def test_the_card_shows_the_facts_of_the_run(run_folder, tmp_path):
    card = read_card(run_folder / "best.ckpt", tmp_path / "model")
    front, body = card.split("---\n", 2)[1:]
    data = yaml.safe_load(front)
    assert (data["library_name"], data["pipeline_tag"]) == ("mmie", "token-classification")
    assert data["base_model"] == "bert-base-uncased"
    (result,) = data["model-index"][0]["results"]
    assert result["dataset"]["name"] == "Twitter2015"
    assert {m["type"]: m["value"] for m in result["metrics"]} == {
        "f1": 0.75,
        "precision": 0.8,
        "recall": 0.7,
    }
    assert (
        "| the posts' own | 75.00 | 80.00 | 70.00 |\n\n"
        "With every post given another post's picture, F1 is 25.00." in body
    )
    assert "no picture" not in body
    assert "| Seed | 7 |" in body
    assert "https://arxiv.org/abs/2205.03521" in body


def test_the_card_shows_the_note_of_the_corpus(run_folder, tmp_path):
    metrics = json.loads((run_folder / "metrics.json").read_text())
    metrics["test"]["corpus_note"] = "These are not scores of Twitter2015."
    (run_folder / "metrics.json").write_text(json.dumps(metrics))
    card = read_card(run_folder / "best.ckpt", tmp_path / "model")
    assert "\n\nThese are not scores of Twitter2015.\n\n## Files" in card


def test_a_card_without_scores_shows_the_validation(run_folder, tmp_path):
    (run_folder / "metrics.json").write_text('{"fit": {"best": {"val/f1": 0.5}}}')
    card = read_card(run_folder / "best.ckpt", tmp_path / "model")
    assert "This checkpoint was not tested. Its best F1 on the validation split was 50.00." in card


def test_a_card_without_any_score_says_so(run_folder, tmp_path):
    (run_folder / "best.ckpt").rename(run_folder / "last.ckpt")
    card = read_card(run_folder / "last.ckpt", tmp_path / "model")
    assert "model-index" not in card
    assert "No score of this checkpoint is recorded." in card


def test_a_broken_run_folder_costs_the_card_its_scores_only(run_folder, tmp_path):
    (run_folder / "config.yaml").write_text("[: {")
    assert "not recorded" in read_card(run_folder / "best.ckpt", tmp_path / "model")


def test_the_code_of_a_card_runs(save_checkpoint, demo_root, tmp_path):
    card = read_card(save_checkpoint(TextOnly, "re"), tmp_path / "model")
    assert "| Trained on | not recorded |" in card
    assert "| Pictures | none |" in card
    picture = DemoCorpus(demo_root).posts("test")[0].image
    (tmp_path / "picture.jpg").write_bytes(picture.read_bytes())
    code = card.split("```python\n")[1].split("```")[0]
    printed = []
    exec(code.replace('"model"', repr(str(tmp_path / "model"))), {"print": printed.extend})
    assert printed[0].text == "Jordan lands in Phoenix"


class OwnTextOnly(TextOnly):
    """A method of one's own."""


def test_the_card_of_a_method_of_ones_own_names_its_module(save_checkpoint, tmp_path):
    card = read_card(save_checkpoint(OwnTextOnly, "ner"), tmp_path / "model")
    code = card.split("```python\n")[1].split("```")[0]
    assert code.startswith(f"import {__name__}  # the class of the method, which is not part of")
    assert f"The commands of `mmie` load it with `--import {__name__}`." in card
    assert "--import" not in read_card(save_checkpoint(TextOnly, "ner"), tmp_path / "other")


def test_scores_without_a_corpus_are_not_listed_on_the_hub(random_pair):
    method = load_method(random_pair["re"])
    data = yaml.safe_load(front_matter(method, RunFacts(scores={"f1": 0.5}), "model"))
    assert "model-index" not in data
    assert data["pipeline_tag"] == "text-classification"
    assert "relation-extraction" in data["tags"]
    facts = RunFacts(corpus="MNRE", scores={"f1": 0.5})
    data = yaml.safe_load(front_matter(method, facts, "model"))
    [result] = data["model-index"][0]["results"]
    assert result["dataset"] == {"name": "MNRE", "type": "mnre", "split": "test"}


def test_names_and_labels_are_no_markup(run_folder, tmp_path):
    content = torch.load(run_folder / "best.ckpt", weights_only=True)
    labels = ["a | b", "<img src=x onerror=alert(1)>", "[c](http://d)", "`e`"]
    for part in ("mmie", "MultimodalDataModule"):
        schema = content[part]["schema"]
        schema["labels"] = labels[: len(schema["labels"])]
    torch.save(content, run_folder / "best.ckpt")
    config = yaml.safe_load((run_folder / "config.yaml").read_text())
    config["data"]["corpus"]["class_path"] = "a.<b>|"
    config["seed_everything"] = "<s>"
    (run_folder / "config.yaml").write_text(yaml.safe_dump(config))
    card = read_card(run_folder / "best.ckpt", tmp_path / '<i>`"\x1b')
    body = card.split("---\n", 2)[2]
    (row,) = [line for line in body.splitlines() if line.startswith("| Labels")]
    assert row.startswith(r"| Labels | a \| b, \<img src=x onerror=alert(1)\>, \[c\](http://d)")
    assert "\x1b" not in body
    code = body.split("```python\n")[1].split("```")[0]
    for markup in ("<b>", "<s>", "<i>"):
        assert markup not in body.replace(code, "").replace("`<i>'\"\\x1b`", "")
    line = next(line for line in code.splitlines() if line.startswith("extractor ="))
    assert ast.literal_eval(line.split("from_pretrained(")[1].rstrip(")")) == '<i>`"\x1b'
