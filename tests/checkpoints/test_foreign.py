"""A checkpoint of a stranger names no folder, no repository and no code."""

import json

import pytest
import torch
from helpers.command import run

from mmie.checkpoints import CheckpointError, read_checkpoint
from mmie.checkpoints.foreign import ForeignReference, self_contained
from mmie.inference import Extractor
from mmie.types import MmieError

ENCODER = {"model_type": "bert", "hidden_act": "gelu", "_name_or_path": "/home/me/encoder"}
COMPLETE = {"text_encoder": ENCODER, "vision_backbone": "resnet18", "dropout": 0.1}


def test_arguments_that_only_a_fit_reads_are_reset():
    args = {**COMPLETE, "pretrained": True, "init_from": "/other.ckpt", "clip": "/etc"}
    built = self_contained(args)
    assert built["text_encoder"] == {"model_type": "bert", "hidden_act": "gelu"}
    assert (built["pretrained"], built["init_from"], built["clip"]) == (False, None, None)
    assert "clip" not in self_contained(COMPLETE)
    assert self_contained(built) == built


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text_encoder", "encoder_with_code"),
        ("text_encoder", "owner/name"),
        ("text_encoder", None),
        ("text_encoder", ["bert"]),
        ("text_encoder", {**ENCODER, "auto_map": {"AutoModel": "own.Model"}}),
        ("text_encoder", {**ENCODER, "sub": {"backbone": "resnet50"}}),
        ("text_encoder", {**ENCODER, "hidden_act": "../x"}),
        ("vision_backbone", "hf-hub:owner/name"),
        ("vision_backbone", "local-dir:folder"),
        ("vision_backbone", "folder"),
        ("vision_backbone", "resnet18.x/../.."),
        ("patch_embedding", "./vit"),
    ],
)
def test_references_are_refused(name, value):
    with pytest.raises(ForeignReference, match=name) as caught:
        self_contained({**COMPLETE, name: value})
    assert "\n" not in str(caught.value)
    incomplete = {key: value for key, value in COMPLETE.items() if key != "text_encoder"}
    with pytest.raises(ForeignReference, match="text_encoder"):
        self_contained(incomplete)


@pytest.fixture
def folder_with_code(tmp_path):
    """Folder of an encoder whose code leaves a file when it is run."""
    folder = tmp_path / "encoder_with_code"
    folder.mkdir()
    auto_map = {"AutoConfig": "own.Config", "AutoModel": "own.Model", "AutoTokenizer": "own.T"}
    config = {"model_type": "own", "auto_map": auto_map}
    (folder / "config.json").write_text(json.dumps(config))
    marker = folder / "ran"
    (folder / "own.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    return folder


def change(checkpoint, file, **arguments):
    """Write a checkpoint with other arguments of the method."""
    content = torch.load(checkpoint, weights_only=True)
    content["mmie"]["init_args"].update(arguments)
    torch.save(content, file)
    return file


def test_a_checkpoint_with_code_is_refused(random_pair, folder_with_code, tmp_path):
    config = json.loads((folder_with_code / "config.json").read_text())
    for encoder in (str(folder_with_code), {**ENCODER, "auto_map": config["auto_map"]}, config):
        foreign = change(random_pair["ner"], tmp_path / "foreign.ckpt", text_encoder=encoder)
        with pytest.raises(CheckpointError, match="expected one that is built from it alone"):
            read_checkpoint(foreign)
    assert not (folder_with_code / "ran").exists()


@pytest.mark.slow
def test_code_is_not_offered_on_the_command_line(random_pair, folder_with_code, tmp_path):
    foreign = change(
        random_pair["ner"], tmp_path / "foreign.ckpt", text_encoder=str(folder_with_code)
    )
    (tmp_path / "posts.jsonl").write_text('{"text": "Jordan"}\n')
    outcome = run(
        "extract", tmp_path / "posts.jsonl", f"--ner={foreign}", "-o", tmp_path / "x.jsonl"
    )
    assert outcome.status == 1
    assert outcome.err.count("\n") == 1
    assert "has a text_encoder of" in outcome.err
    assert not (folder_with_code / "ran").exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"auto_map": {"AutoTokenizer": ["own.Tokenizer", None]}},
        {"vocab_file": "/etc/passwd"},
        {"nested": {"tokenizer_file": "other.json"}},
    ],
)
def test_a_tokenizer_that_names_files_or_code_is_refused(random_pair, tmp_path, settings):
    content = torch.load(random_pair["ner"], weights_only=True)
    files = content["MultimodalDataModule"]["tokenizer"]
    known = json.loads(files["tokenizer_config.json"])
    files["tokenizer_config.json"] = json.dumps({**known, **settings})
    torch.save(content, tmp_path / "foreign.ckpt")
    with pytest.raises(MmieError, match=r"checkpoint's tokenizer_config\.json has"):
        Extractor.from_checkpoint(tmp_path / "foreign.ckpt", device="cpu")


def test_a_folder_named_like_an_architecture_is_not_read(random_pair, tmp_path, monkeypatch):
    expected = Extractor.from_checkpoint(random_pair["ner"], device="cpu")
    architecture = read_checkpoint(random_pair["ner"]).init_args["vision_backbone"]
    folder = tmp_path / architecture
    folder.mkdir()
    (folder / "config.json").write_text('{"architecture": "resnet50"}')
    monkeypatch.chdir(tmp_path)
    loaded = Extractor.from_checkpoint(random_pair["ner"].resolve(), device="cpu")
    assert loaded.ner.method.vision.architecture == expected.ner.method.vision.architecture


def test_checkpoints_do_not_name_the_folder_of_their_encoder(random_pair, tiny_bert):
    content = torch.load(random_pair["ner"], weights_only=True)
    assert tiny_bert not in str({**content, "state_dict": None})
