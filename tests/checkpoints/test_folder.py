"""Folders of JSON and safetensors, and hostile folders, which are refused in one line."""

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
    """Folder of a method that finds entities."""
    return save_pretrained(random_pair["ner"], tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture
def copy(saved, tmp_path) -> Path:
    """Copy of the folder, which a test may change."""
    return shutil.copytree(saved, tmp_path / "copy")


def change_config(folder, path, value):
    """Change a value of ``config.json``, named by its keys with dots between them.

    The checksum is left out, as whoever means harm would write a new one.
    """
    config = json.loads((folder / "config.json").read_text())
    config.pop("sha256", None)
    *parents, key = path.split(".")
    parent = config
    for name in parents:
        parent = parent[name]
    parent[key] = value
    (folder / "config.json").write_text(json.dumps(config))


def test_tensors_that_share_memory_are_written_once_and_read_under_all_names(random_pair, tmp_path):
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


TOKENIZER = "MultimodalDataModule.tokenizer"
TEXT_ENCODER = "mmie.init_args.text_encoder"
BACKBONE = "mmie.init_args.vision_backbone"


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (TOKENIZER, ["../config.json"], "not the name of a JSON file"),
        (TOKENIZER, ["/etc/passwd"], "not the name of a JSON file"),
        (TOKENIZER, ["model.safetensors"], "not the name of a JSON file"),
        (TOKENIZER, ["vocabulary.json"], "holds no vocabulary.json"),
        (TOKENIZER, [1], "not the name of a JSON file"),
        (TOKENIZER, [], "describes no method|tokenizer"),
        ("MultimodalDataModule", [1], "none that mmie wrote"),
        ("mmie", "TextOnly", "none that mmie wrote"),
        ("mmie.method", "os.system", "is not known"),
        (TEXT_ENCODER, "owner/encoder", "has a text_encoder of 'owner/encoder'"),
        (f"{TEXT_ENCODER}.model_type", "nothing", "model_type"),
        (f"{TEXT_ENCODER}.hidden_size", 60, "does not fit"),
        (f"{TEXT_ENCODER}.hidden_size", "wide", "describes no method|does not fit"),
        (BACKBONE, "hf-hub:owner/weights", "has a vision_backbone of"),
        (BACKBONE, "../folder", "has a vision_backbone of"),
        ("mmie.init_args.nonsense", 1, "does not fit"),
        ("mmie.schema.labels", ["PER"], "does not fit"),
        ("aliases", {"a": "b"}, "none that mmie wrote"),
    ],
)
def test_a_hostile_configuration_is_refused_in_one_line(copy, path, value, reason):
    change_config(copy, path, value)
    with pytest.raises(MmieError, match=reason) as caught:
        Extractor.from_pretrained(copy, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[" * 100_000, "\0", "[]", '{"mmie": 1}'])
def test_a_broken_configuration_is_refused_in_one_line(copy, text):
    (copy / "config.json").write_text(text)
    with pytest.raises(CheckpointError) as caught:
        read_pretrained(copy)
    assert "\n" not in str(caught.value)


def test_no_pretrained_weights_are_loaded(copy, posts, saved):
    change_config(copy, "mmie.init_args.pretrained", True)
    change_config(copy, "mmie.init_args.init_from", "/nowhere/other.ckpt")
    arguments = read_pretrained(copy).init_args
    assert (arguments["pretrained"], arguments["init_from"]) == (False, None)
    expected = Extractor.from_pretrained(saved, device="cpu").extract(posts[:2])
    assert Extractor.from_pretrained(copy, device="cpu").extract(posts[:2]) == expected


def _forget_digests(folder):
    """Remove all digests, which folders of older versions lack."""
    config = json.loads((folder / "config.json").read_text())
    del config["sha256"], config["files_sha256"]
    (folder / "config.json").write_text(json.dumps(config))


def _flip_bit(file, position):
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "tokenizer_config.json"])
def test_a_flipped_bit_of_a_file_is_refused(copy, name):
    _flip_bit(copy / name, -3)
    with pytest.raises(CheckpointError, match=rf"{name} of .* is damaged"):
        read_pretrained(copy)


def test_a_flipped_bit_of_the_configuration_is_refused(copy):
    text = (copy / "config.json").read_text()
    _flip_bit(copy / "config.json", text.index("image_size") + len('image_size": '))
    with pytest.raises(CheckpointError, match=r"config\.json of .* is damaged or was changed"):
        read_pretrained(copy)


def test_a_folder_without_digests_is_read(copy, saved):
    _forget_digests(copy)
    old, new = read_pretrained(copy), read_pretrained(saved)
    assert (old.init_args, old.tokenizer) == (new.init_args, new.tokenizer)
    assert old.state_dict.keys() == new.state_dict.keys()


def test_weights_of_another_shape_are_refused(copy):
    state = load_file(copy / "model.safetensors")
    state["head.emission.weight"] = state["head.emission.weight"][:, :-1].contiguous()
    save_file(state, copy / "model.safetensors")
    _forget_digests(copy)
    with pytest.raises(CheckpointError, match="does not fit"):
        Extractor.from_pretrained(copy, device="cpu")


def test_broken_and_missing_weights_are_refused(copy):
    _forget_digests(copy)
    for content in (b"", b"\xff" * 100, b"\x80\x02}q\x00."):
        (copy / "model.safetensors").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"holds no model.safetensors that can be read"):
            read_pretrained(copy)
    (copy / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"holds no model.safetensors"):
        read_pretrained(copy)


def test_an_oversized_file_is_refused(copy):
    with (copy / "tokenizer.json").open("ab") as file:
        file.truncate(MAX_JSON_BYTES + 1)
    with pytest.raises(CheckpointError, match="more than"):
        read_pretrained(copy)


def test_only_json_and_weights_of_a_repository_are_downloaded(saved):
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

    message = "no folder here, and the hub has no such repository at revision v1"
    with pytest.raises(CheckpointError, match=message) as caught:
        read_pretrained("owner/model", "v1", download=download)
    assert "\n" not in str(caught.value)
    # the hub is offline in tests
    with pytest.raises(CheckpointError, match="no folder here"):
        Extractor.from_pretrained("owner/model", device="cpu")
