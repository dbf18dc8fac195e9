"""Loading of methods from checkpoints, and refusal of unusable files."""

import pickle
from pathlib import Path

import pytest
import torch
from helpers.methods import build_module, encode, make_batch

from mmie.checkpoints import CheckpointError, read_checkpoint
from mmie.methods import RAP, TextOnly
from mmie.methods.loading import find_method, load_method
from mmie.types import Encoding, MmieError


class ScaledTextOnly(TextOnly):
    """Custom method: scaled states of the text encoder."""

    def __init__(self, schema, scale=1.0, **shared):
        super().__init__(schema, **shared)
        self.scale = scale

    def encode(self, batch):
        return Encoding(self.scale * self.encode_text(batch))


class Trap:
    """Object that writes a file when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (Path(self.target),)


def write(module, path, **changes):
    """Write the parts of a module's checkpoint that the package reads."""
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    checkpoint["mmie"] |= changes
    torch.save(checkpoint, path)
    return path


@pytest.fixture
def data(demo_data, tiny_bert):
    return demo_data("ner", tiny_bert)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "module.ckpt"


def test_missing_file_raises(path):
    with pytest.raises(CheckpointError, match=r"'.*module\.ckpt' does not exist"):
        load_method(path)


def test_folder_without_config_raises(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no config\.json"):
        load_method(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"PK\x03\x04 half an archive", b"\x80\x04K\x01."]
)
def test_garbage_raises(path, content):
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"'.*module\.ckpt' is no checkpoint"):
        load_method(path)


def test_truncated_checkpoint_raises(data, tiny_bert, path):
    write(build_module(TextOnly, data.schema, tiny_bert), path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        load_method(path)


@pytest.mark.parametrize(
    "save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))]
)
def test_no_code_in_a_checkpoint_is_run(data, tiny_bert, tmp_path, path, save):
    sprung = tmp_path / "sprung"
    save({"mmie": {"method": Trap(sprung)}, "state_dict": {}}, path)
    with pytest.raises(CheckpointError, match="holds more than plain values and tensors"):
        load_method(path)
    assert not sprung.exists()
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists()


@pytest.mark.parametrize("content", [{"state_dict": {}, "epoch": 3}, [1, 2], torch.ones(2)])
def test_checkpoint_of_another_program_raises(path, content):
    torch.save(content, path)
    with pytest.raises(
        CheckpointError, match="is no checkpoint of mmie: it says nothing of a method"
    ):
        load_method(path)


def test_unknown_method_raises(data, tiny_bert, path):
    write(build_module(TextOnly, data.schema, tiny_bert), path, method="theirs.Method")
    with pytest.raises(
        CheckpointError,
        match=r"theirs\.Method is not known: give --import theirs \(in Python: ",
    ):
        load_method(path)


@pytest.mark.parametrize(
    "name", ["os.system", "mmie.methods.base.ExtractionModule", "torch.nn.modules.linear.Linear"]
)
def test_only_methods_are_found(name):
    with pytest.raises(CheckpointError, match="is not known"):
        find_method(name)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"init_args": {"text_encoder": {}, "windows": 3, "pretrained": False}}, "windows"),
        ({"schema": {"task": "ner"}}, "labels"),
        ({"method": "mmie.methods.rap.RAP"}, "Missing key"),
    ],
)
def test_checkpoint_of_another_version_raises(data, tiny_bert, path, changes, reason):
    module = build_module(TextOnly, data.schema, tiny_bert)
    if "method" in changes:
        changes = {
            **changes,
            "init_args": {
                **module.rebuild_args(),
                "pretrained": False,
                "vision_backbone": "test_vit",
            },
        }
    write(module, path, **changes)
    with pytest.raises(CheckpointError, match=f"(?s)does not fit the method known here.*{reason}"):
        load_method(path)


def test_errors_have_one_line(path):
    with pytest.raises(MmieError) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_custom_method_is_loaded(data, tiny_bert, path):
    module = build_module(ScaledTextOnly, data.schema, tiny_bert, scale=0.5)
    loaded = load_method(write(module, path))
    batch = make_batch(data, data.instances["valid"][:3])
    assert type(loaded) is ScaledTextOnly
    assert loaded.scale == 0.5
    assert torch.equal(encode(loaded, batch), encode(module, batch))


def test_checkpoint_holds_everything_to_rebuild_the_module(data, tiny_bert, path):
    arguments = {
        "vision_backbone": "test_resnet",
        "num_fusion_layers": 1,
        "units": ("rau", "cfu"),
        "relevance": False,
    }
    module = build_module(RAP, data.schema, tiny_bert, pooling="cls", **arguments)
    module.init_args["pretrained"] = True  # as if trained from the weights of a hub
    checkpoint = read_checkpoint(write(module, path))
    assert checkpoint.method == "mmie.methods.rap.RAP"
    assert checkpoint.schema == data.schema
    assert checkpoint.init_args["pretrained"] is False
    assert checkpoint.init_args["text_encoder"]["hidden_size"] == 64
    loaded = load_method(path)
    assert loaded.schema == data.schema
    assert {name: loaded.init_args[name] for name in arguments} == arguments
    assert loaded.pooling == "cls"


def test_checkpoint_of_a_loaded_module_can_be_loaded(data, tiny_bert, path):
    module = build_module(
        RAP, data.schema, tiny_bert, vision_backbone="test_resnet", num_fusion_layers=1
    )
    again = load_method(write(load_method(write(module, path)), path))
    batch = make_batch(data, data.instances["valid"][:3])
    assert torch.equal(encode(again, batch), encode(module, batch))
