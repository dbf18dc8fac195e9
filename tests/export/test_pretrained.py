"""What is passed on as a folder finds what the checkpoint finds, and a foreign folder does no harm."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file

from mmie.checkpoints import CheckpointError, read_checkpoint, read_pretrained
from mmie.checkpoints.folder import MAX_JSON_BYTES, write_config, write_weights
from mmie.data import DemoCorpus
from mmie.export.model_card import read_facts
from mmie.export.pretrained import SharingError, push_to_hub, save_pretrained
from mmie.inference import Extractor, load_pair
from mmie.methods import DGHC, IMM, RAP, HVPNet, MLNet, RSRNeT, TextOnly
from mmie.types import MmieError

RESNET = {"vision_backbone": "test_resnet"}
METHODS = {
    TextOnly: {},
    HVPNet: RESNET,
    RSRNeT: RESNET,
    RAP: {**RESNET, "num_fusion_layers": 2, "prompt_length": 4},
    DGHC: {"vision_backbone": "test_vit", "prompt_dim": 16},
    IMM: {"patch_size": 16},
    MLNet: {**RESNET, "fusion_layers": 1, "lstm_size": 32},
}


@pytest.fixture(scope="module")
def posts(demo_root):
    return DemoCorpus(demo_root).posts("test")


@pytest.fixture(scope="module")
def saved(random_pair, tmp_path_factory) -> Path:
    """A folder of a model that finds entities; tests that change it copy it."""
    return save_pretrained(random_pair["ner"], tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture
def copy(saved, tmp_path) -> Path:
    return shutil.copytree(saved, tmp_path / "copy")


def change_config(folder, *keys, value):
    config = json.loads((folder / "config.json").read_text())
    place = config
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("task", ["ner", "re"])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_a_folder_finds_what_the_checkpoint_finds(method, task, save_checkpoint, posts, tmp_path):
    checkpoint = save_checkpoint(method, task, **METHODS[method])
    folder = save_pretrained(checkpoint, tmp_path / "deep" / "folder")
    expected = Extractor.from_checkpoint(checkpoint, device="cpu").extract(posts)
    assert any(
        extraction.entities if task == "ner" else extraction.relations for extraction in expected
    )
    assert Extractor.from_pretrained(folder, device="cpu").extract(posts) == expected


def test_a_folder_stands_wherever_a_checkpoint_does(saved, random_pair, posts):
    expected = load_pair(random_pair["ner"], random_pair["re"], device="cpu").extract(posts)
    assert load_pair(saved, random_pair["re"], device="cpu").extract(posts) == expected
    assert Extractor.from_checkpoint(saved, device="cpu").ner.schema.task == "ner"


def test_a_folder_holds_json_and_safetensors_that_others_may_read(saved, random_pair):
    names = {file.name for file in saved.iterdir()}
    assert names == {
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert len({file.stat().st_mode for file in saved.iterdir()}) == 1
    content, checkpoint = read_pretrained(saved), read_checkpoint(random_pair["ner"])
    assert content.tokenizer == checkpoint.tokenizer
    assert content.state_dict.keys() == checkpoint.state_dict.keys()
    assert all(
        torch.equal(tensor, checkpoint.state_dict[name])
        for name, tensor in content.state_dict.items()
    )


def test_nothing_says_where_the_text_encoder_lay(saved, tiny_bert):
    assert all(
        tiny_bert not in file.read_text()
        for file in saved.iterdir()
        if file.suffix != ".safetensors"
    )


def test_tensors_that_share_their_memory_are_written_once_and_read_twice(random_pair, tmp_path):
    checkpoint = read_checkpoint(random_pair["ner"])
    weight = checkpoint.state_dict["head.emission.weight"]
    checkpoint.state_dict.update({"tied": weight, "other": weight.clone(), "turned": weight.T})
    folder = tmp_path / "folder"
    folder.mkdir()
    write_weights(checkpoint.state_dict, folder / "model.safetensors")
    write_config(checkpoint, folder)
    assert "tied" not in load_file(folder / "model.safetensors")
    state = read_pretrained(folder).state_dict
    assert torch.equal(state["tied"], weight)
    assert torch.equal(state["other"], weight)
    assert torch.equal(state["turned"], weight.T)


def test_what_holds_something_is_not_written_over(saved, random_pair, tmp_path):
    before = (saved / "config.json").stat().st_mtime_ns
    with pytest.raises(SharingError, match="holds something already"):
        save_pretrained(random_pair["ner"], saved)
    assert (saved / "config.json").stat().st_mtime_ns == before
    (tmp_path / "empty").mkdir()
    assert save_pretrained(random_pair["ner"], tmp_path / "empty").is_dir()


def test_a_folder_is_written_whole_or_not_at_all(random_pair, tmp_path):
    checkpoint = torch.load(random_pair["ner"], weights_only=True)
    checkpoint["mmie"]["init_args"]["weight_decay"] = float("nan")
    torch.save(checkpoint, tmp_path / "odd.ckpt")
    with pytest.raises(SharingError, match="does not fit into JSON"):
        save_pretrained(tmp_path / "odd.ckpt", tmp_path / "folder")
    assert [file.name for file in tmp_path.iterdir()] == ["odd.ckpt"]


def test_only_what_a_fit_wrote_can_be_saved(random_pair, tmp_path):
    checkpoint = torch.load(random_pair["ner"], weights_only=True)
    del checkpoint["MultimodalDataModule"]
    torch.save(checkpoint, tmp_path / "bare.ckpt")
    for path in (tmp_path / "bare.ckpt", tmp_path / "nothing.ckpt"):
        with pytest.raises(CheckpointError):
            save_pretrained(path, tmp_path / "folder")


@pytest.mark.parametrize(
    ("keys", "value", "reason"),
    [
        (("MultimodalDataModule", "tokenizer"), ["../config.json"], "no name of a JSON file"),
        (("MultimodalDataModule", "tokenizer"), ["/etc/passwd"], "no name of a JSON file"),
        (("MultimodalDataModule", "tokenizer"), ["model.safetensors"], "no name of a JSON file"),
        (("MultimodalDataModule", "tokenizer"), ["vocabulary.json"], "holds no vocabulary.json"),
        (("MultimodalDataModule", "tokenizer"), [1], "no name of a JSON file"),
        (("MultimodalDataModule", "tokenizer"), [], "describes no method|tokenizer"),
        (("MultimodalDataModule",), [1], "none that mmie wrote"),
        (("mmie",), "TextOnly", "none that mmie wrote"),
        (("mmie", "method"), "os.system", "is not known"),
        (
            ("mmie", "init_args", "text_encoder"),
            "owner/encoder",
            "has a text_encoder of 'owner/encoder'",
        ),
        (("mmie", "init_args", "text_encoder", "model_type"), "nothing", "model_type"),
        (("mmie", "init_args", "text_encoder", "hidden_size"), 60, "does not fit"),
        (
            ("mmie", "init_args", "text_encoder", "hidden_size"),
            "wide",
            "describes no method|does not fit",
        ),
        (
            ("mmie", "init_args", "vision_backbone"),
            "hf-hub:owner/weights",
            "has a vision_backbone of",
        ),
        (("mmie", "init_args", "vision_backbone"), "../folder", "has a vision_backbone of"),
        (("mmie", "init_args", "nonsense"), 1, "does not fit"),
        (("mmie", "schema", "labels"), ["PER"], "does not fit"),
        (("aliases",), {"a": "b"}, "none that mmie wrote"),
    ],
)
def test_a_hostile_description_is_refused_in_one_line(copy, keys, value, reason):
    change_config(copy, *keys, value=value)
    with pytest.raises(MmieError, match=reason) as caught:
        Extractor.from_pretrained(copy, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[" * 100_000, "\0", "[]", '{"mmie": 1}'])
def test_a_broken_description_is_refused_in_one_line(copy, text):
    (copy / "config.json").write_text(text)
    with pytest.raises(CheckpointError) as caught:
        read_pretrained(copy)
    assert "\n" not in str(caught.value)


def test_weights_are_not_fetched_whatever_the_description_says(copy, posts, saved):
    change_config(copy, "mmie", "init_args", "pretrained", value=True)
    change_config(copy, "mmie", "init_args", "init_from", value="/nowhere/other.ckpt")
    arguments = read_pretrained(copy).init_args
    assert (arguments["pretrained"], arguments["init_from"]) == (False, None)
    expected = Extractor.from_pretrained(saved, device="cpu").extract(posts[:2])
    assert Extractor.from_pretrained(copy, device="cpu").extract(posts[:2]) == expected


def test_odd_files_are_refused(copy):
    state = load_file(copy / "model.safetensors")
    state["head.emission.weight"] = state["head.emission.weight"][:, :-1].contiguous()
    save_file(state, copy / "model.safetensors")
    with pytest.raises(CheckpointError, match="does not fit"):
        Extractor.from_pretrained(copy, device="cpu")
    for content in (b"", b"\xff" * 100, b"\x80\x02}q\x00."):
        (copy / "model.safetensors").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"holds no model.safetensors that can be read"):
            read_pretrained(copy)
    (copy / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"holds no model.safetensors"):
        read_pretrained(copy)
    with (copy / "tokenizer.json").open("ab") as file:
        file.truncate(MAX_JSON_BYTES + 1)
    with pytest.raises(CheckpointError, match="more than"):
        read_pretrained(copy)


def test_a_repository_is_fetched_without_anything_that_runs(saved):
    asked = {}

    def download(name, **options):
        asked.update(options, name=name)
        return str(saved)

    content = read_pretrained("owner/model", "v1", download=download)
    assert content.method == "mmie.methods.hvpnet.HVPNet"
    assert (asked["name"], asked["revision"]) == ("owner/model", "v1")
    assert asked["allow_patterns"] == ["*.json", "model.safetensors", "README.md"]
    assert asked["ignore_patterns"] == ["*/*"]


def test_a_repository_that_cannot_be_had_is_said_in_one_line():
    def download(name, **options):
        raise LocalEntryNotFoundError("no\nnetwork")

    with pytest.raises(
        CheckpointError, match="no folder here, and the hub has no such repository at revision v1"
    ) as e:
        read_pretrained("owner/model", "v1", download=download)
    assert "\n" not in str(e.value)
    with pytest.raises(CheckpointError, match="no folder here"):  # the tests' hub is offline
        Extractor.from_pretrained("owner/model", device="cpu")


class Hub:
    """A hub that remembers what it was sent."""

    def __init__(self, error=None):
        self.error = error
        self.calls = []

    def create_repo(self, repo_id, **options):
        if self.error:
            raise self.error
        self.calls.append(("create", repo_id, options))
        return f"https://hub/{repo_id}"

    def upload_folder(self, **options):
        self.calls.append(("upload", options.pop("repo_id"), options))


def test_a_folder_is_sent_and_nothing_foreign_with_it(copy):
    hub = Hub()
    assert push_to_hub(copy, "owner/model", private=True, api=hub) == "https://hub/owner/model"
    (_, created, how), (_, sent, upload) = hub.calls
    assert (created, how) == ("owner/model", {"private": True, "exist_ok": True})
    assert (sent, upload["folder_path"]) == ("owner/model", copy)
    assert {"*.json", "model.safetensors", "README.md"} <= set(upload["allow_patterns"])
    assert "*" not in upload["allow_patterns"]


def test_what_cannot_be_sent_is_said(copy, tmp_path):
    with pytest.raises(SharingError, match=r"cannot be sent to 'owner/model' .*: no"):
        push_to_hub(copy, "owner/model", api=Hub(OSError("no")))
    hub = Hub()
    for folder in (tmp_path / "nothing", tmp_path):
        with pytest.raises(CheckpointError):
            push_to_hub(folder, "owner/model", api=hub)
    assert hub.calls == []


@pytest.fixture
def run_folder(random_pair, tmp_path) -> Path:
    """The run folder of a tested checkpoint, as far as the card reads it."""
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(random_pair["ner"], folder / "best.ckpt")
    config = {
        "seed_everything": 7,
        "data": {"corpus": {"class_path": "mmie.data.Twitter2015"}},
        "model": {"init_args": {"text_encoder": "bert-base-uncased", "pretrained": True}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    own = {"checkpoint": "/elsewhere/run/best.ckpt"}
    metrics = {
        "fit": {"best": {"val/f1": 0.5}},
        "test": {**own, "test/f1": 0.75, "test/precision": 0.8, "test/recall": 0.7},
        "test_shuffled": {**own, "test/f1": 0.25},
        "test_none": {"checkpoint": "/elsewhere/run/last.ckpt", "test/f1": 0.125},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def test_the_card_says_what_the_run_knows(run_folder, tmp_path):
    card = (save_pretrained(run_folder / "best.ckpt", tmp_path / "model") / "README.md").read_text()
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
        "| right | 75.00 | 80.00 | 70.00 |\n\nWith every post given another one's picture, F1 is 25.00."
        in body
    )
    assert "no picture" not in body
    assert "| Seed | 7 |" in body
    assert "https://arxiv.org/abs/2205.03521" in body


def test_scores_of_another_checkpoint_are_left_out(run_folder, tmp_path):
    (run_folder / "best.ckpt").rename(run_folder / "last.ckpt")
    facts = read_facts(run_folder / "last.ckpt")
    assert (facts.scores, facts.validation, facts.other_pictures) == ({}, None, {"none": 0.125})
    card = (save_pretrained(run_folder / "last.ckpt", tmp_path / "model") / "README.md").read_text()
    assert "model-index" not in card
    assert "No score of this checkpoint is recorded." in card


def test_a_card_without_a_run_and_its_code(save_checkpoint, posts, tmp_path):
    folder = save_pretrained(save_checkpoint(TextOnly, "re"), tmp_path / "model")
    (tmp_path / "picture.jpg").write_bytes(posts[0].image.read_bytes())
    card = (folder / "README.md").read_text()
    assert "| Trained on | not recorded |" in card
    assert "| Pictures | none |" in card
    code = card.split("```python\n")[1].split("```")[0].replace('"model"', repr(str(folder)))
    printed = []
    exec(code, {"print": printed.extend})
    assert printed[0].text == "Jordan lands in Phoenix"


def test_a_broken_run_folder_costs_the_card_its_scores_only(run_folder, tmp_path):
    (run_folder / "metrics.json").write_text("{")
    (run_folder / "config.yaml").write_text("[: {")
    assert (
        "not recorded"
        in (save_pretrained(run_folder / "best.ckpt", tmp_path / "model") / "README.md").read_text()
    )


@pytest.mark.parametrize(
    "source", ["./encoder", "/encoder", "~/encoder", "a/b/c", "demo encoder", {}]
)
def test_a_place_on_this_machine_is_no_base_model(run_folder, source):
    config = yaml.safe_load((run_folder / "config.yaml").read_text())
    config["model"]["init_args"]["text_encoder"] = source
    (run_folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert read_facts(run_folder / "best.ckpt").base_model is None
