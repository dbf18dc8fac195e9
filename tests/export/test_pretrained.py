"""A saved folder finds what its checkpoint finds, and is sent to the hub without foreign files."""

from pathlib import Path

import pytest
import torch

from mmie.checkpoints import CheckpointError, read_checkpoint, read_pretrained
from mmie.data import DemoCorpus
from mmie.export.pretrained import SharingError, push_to_hub, save_pretrained
from mmie.inference import Extractor, load_pair
from mmie.methods import DGHC, IMM, RAP, HVPNet, MLNet, RSRNeT, TextOnly

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
    """The folder of a model that finds entities."""
    return save_pretrained(random_pair["ner"], tmp_path_factory.mktemp("saved") / "model")


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_folder_can_replace_a_checkpoint(saved, random_pair, posts):
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


def test_no_file_holds_the_path_of_the_text_encoder(saved, tiny_bert):
    assert all(
        tiny_bert not in file.read_text()
        for file in saved.iterdir()
        if file.suffix != ".safetensors"
    )


def test_a_folder_with_files_is_not_overwritten(saved, random_pair, tmp_path):
    before = (saved / "config.json").stat().st_mtime_ns
    with pytest.raises(SharingError, match="holds something already"):
        save_pretrained(random_pair["ner"], saved)
    assert (saved / "config.json").stat().st_mtime_ns == before
    (tmp_path / "empty").mkdir()
    assert save_pretrained(random_pair["ner"], tmp_path / "empty").is_dir()


def test_a_folder_is_written_atomically(random_pair, tmp_path):
    checkpoint = torch.load(random_pair["ner"], weights_only=True)
    checkpoint["mmie"]["init_args"]["weight_decay"] = float("nan")
    torch.save(checkpoint, tmp_path / "odd.ckpt")
    with pytest.raises(SharingError, match="does not fit into JSON"):
        save_pretrained(tmp_path / "odd.ckpt", tmp_path / "folder")
    assert [file.name for file in tmp_path.iterdir()] == ["odd.ckpt"]


def test_only_checkpoints_of_a_fit_can_be_saved(random_pair, tmp_path):
    checkpoint = torch.load(random_pair["ner"], weights_only=True)
    del checkpoint["MultimodalDataModule"]
    torch.save(checkpoint, tmp_path / "bare.ckpt")
    for path in (tmp_path / "bare.ckpt", tmp_path / "nothing.ckpt"):
        with pytest.raises(CheckpointError):
            save_pretrained(path, tmp_path / "folder")


class FakeHub:
    """A hub that records what it receives."""

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


def test_a_folder_is_sent_without_foreign_files(saved):
    hub = FakeHub()
    assert push_to_hub(saved, "owner/model", private=True, api=hub) == "https://hub/owner/model"
    (_, created, how), (_, sent, upload) = hub.calls
    assert (created, how) == ("owner/model", {"private": True, "exist_ok": True})
    assert (sent, upload["folder_path"]) == ("owner/model", saved)
    assert {"*.json", "model.safetensors", "README.md"} <= set(upload["allow_patterns"])
    assert "*" not in upload["allow_patterns"]


def test_a_folder_that_cannot_be_sent_is_named(saved, tmp_path):
    with pytest.raises(SharingError, match=r"cannot be sent to 'owner/model' .*: no"):
        push_to_hub(saved, "owner/model", api=FakeHub(OSError("no")))
    hub = FakeHub()
    for folder in (tmp_path / "nothing", tmp_path):
        with pytest.raises(CheckpointError):
            push_to_hub(folder, "owner/model", api=hub)
    assert hub.calls == []
