"""A folder is read from JSON and safetensors alone, and a hostile folder is refused in one line."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file

from mmie.checkpoints import CheckpointError, read_checkpoint, read_pretrained
from mmie.checkpoints.folder import MAX_JSON_BYTES, write_config, write_weights
from mmie.data import DemoCorpus
from mmie.export.pretrained import save_pretrained
from mmie.inference import Extractor
from mmie.types import MmieError


@pytest.fixture(scope="module")
def posts(demo_root):
    return DemoCorpus(demo_root).posts("test")


@pytest.fixture(scope="module")
def saved(random_pair, tmp_path_factory) -> Path:
    """The folder of a model that finds entities."""
    return save_pretrained(random_pair["ner"], tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture
def copy(saved, tmp_path) -> Path:
    """A copy of the folder, which a test may change."""
    return shutil.copytree(saved, tmp_path / "copy")


def change_config(folder, *keys, value):
    config = json.loads((folder / "config.json").read_text())
    parent = config
    for key in keys[:-1]:
        parent = parent[key]
    parent[keys[-1]] = value
    (folder / "config.json").write_text(json.dumps(config))


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


@pytest.mark.parametrize(
    ("keys", "value", "reason"),
    [
        (("MultimodalDataModule", "tokenizer"), ["../config.json"], "not the name of a JSON file"),
        (("MultimodalDataModule", "tokenizer"), ["/etc/passwd"], "not the name of a JSON file"),
        (("MultimodalDataModule", "tokenizer"), ["model.safetensors"], "not the name of a JSON file"),
        (("MultimodalDataModule", "tokenizer"), ["vocabulary.json"], "holds no vocabulary.json"),
        (("MultimodalDataModule", "tokenizer"), [1], "not the name of a JSON file"),
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


def test_weights_are_never_fetched(copy, posts, saved):
    change_config(copy, "mmie", "init_args", "pretrained", value=True)
    change_config(copy, "mmie", "init_args", "init_from", value="/nowhere/other.ckpt")
    arguments = read_pretrained(copy).init_args
    assert (arguments["pretrained"], arguments["init_from"]) == (False, None)
    expected = Extractor.from_pretrained(saved, device="cpu").extract(posts[:2])
    assert Extractor.from_pretrained(copy, device="cpu").extract(posts[:2]) == expected


def test_broken_and_oversized_files_are_refused(copy):
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


def test_only_json_and_weights_of_a_repository_are_fetched(saved):
    request = {}

    def download(name, **options):
        request.update(options, name=name)
        return str(saved)

    content = read_pretrained("owner/model", "v1", download=download)
    assert content.method == "mmie.methods.hvpnet.HVPNet"
    assert (request["name"], request["revision"]) == ("owner/model", "v1")
    assert request["allow_patterns"] == ["*.json", "model.safetensors", "README.md"]
    assert request["ignore_patterns"] == ["*/*"]


def test_an_unreachable_repository_is_reported_in_one_line():
    def download(name, **options):
        raise LocalEntryNotFoundError("no\nnetwork")

    with pytest.raises(
        CheckpointError, match="no folder here, and the hub has no such repository at revision v1"
    ) as caught:
        read_pretrained("owner/model", "v1", download=download)
    assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="no folder here"):  # the tests' hub is offline
        Extractor.from_pretrained("owner/model", device="cpu")
