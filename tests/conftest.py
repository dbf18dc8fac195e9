import functools
import json
import logging
import os
import string
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # an unreachable hub must answer at once
os.environ["WANDB_MODE"] = "offline"

import pytest
import torch
from helpers.methods import build_data, build_module, perturb
from helpers.paths import SHARED_DATA
from hypothesis import settings
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

from mmie.data import MultimodalDataModule
from mmie.data.demo import write_demo
from mmie.data.demo.tiny_encoders import write_tiny_roberta
from mmie.methods import HVPNet

collect_ignore_glob = ["*conftest.py"]  # they have no doctests, and share a name

pytest_plugins = ["helpers.detectors"]  # their fixtures serve the room and its command

torch.set_num_threads(1)
for name in (
    "lightning.pytorch",
    "lightning.fabric",
):  # they decide at import whether what they log reaches caplog
    logging.getLogger(name).propagate = True


def pytest_addoption(parser):
    parser.addoption(
        "--soak", action="store_true", help="run the long versions of the tests that have one"
    )


def pytest_configure(config):
    if config.getoption("--soak"):
        settings.register_profile("soak", max_examples=20_000, deadline=None)
        settings.load_profile("soak")


@pytest.fixture(scope="session")
def rounds(request):
    """How often a test tries something: ``rounds(3, 20)`` is 3, and 20 with ``--soak``."""
    return lambda short, long: long if request.config.getoption("--soak") else short


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    os.environ["MMIE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def demo_root(tmp_path_factory) -> Path:
    """A small demo corpus."""
    root = tmp_path_factory.mktemp("demo") / "demo"
    write_demo(root, train=48, valid=16, test=16)
    return root


@pytest.fixture(scope="session")
def tiny_bert(demo_root) -> str:
    """Configuration and tokenizer of a tiny BERT that knows the demo corpus's words."""
    return str(demo_root / "encoder")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real corpora's texts, where they lie beside the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real corpora's texts are not at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def tiny_roberta(demo_root, tmp_path_factory) -> str:
    """Configuration and tokenizer of a tiny RoBERTa that knows the demo corpus's words."""
    folder = tmp_path_factory.mktemp("roberta") / "encoder"
    lines = (demo_root / "train.jsonl").read_text(encoding="utf-8").splitlines()
    write_tiny_roberta(folder, [" ".join(json.loads(line)["words"]) for line in lines])
    return str(folder)


@pytest.fixture(scope="session")
def demo_data(demo_root):
    """Data modules over the demo corpus, by task and encoder folder; each is set up once, so leave it as it is."""

    @functools.cache
    def data(task, encoder) -> MultimodalDataModule:
        return build_data(demo_root, task, encoder)

    return data


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory) -> Path:
    """A folder as CLIP's are published, with letters for a vocabulary."""
    path = tmp_path_factory.mktemp("clip")
    letters = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase)]
    vocabulary = {
        token: number for number, token in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])
    }
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[])
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    ends = {
        "bos_token_id": len(vocabulary) - 2,
        "eos_token_id": len(vocabulary) - 1,
        "pad_token_id": 1,
    }
    text = {**sizes, **ends, "vocab_size": len(vocabulary), "max_position_embeddings": 12}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config=text,
        vision_config={**sizes, "image_size": 32, "patch_size": 16},
        projection_dim=8,
    )
    CLIPModel(config).save_pretrained(path)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPProcessor(CLIPImageProcessor(**size), tokenizer).save_pretrained(path)
    return path


def make_talkative(last):
    """Let a head's linear map say O or None less often, and the rest by what is seen."""
    with torch.no_grad():
        last.weight.mul_(8)
        last.bias[0] -= 3


@pytest.fixture(scope="session")
def save_checkpoint(demo_data, tiny_bert, tmp_path_factory):
    """Writes the checkpoint of a method with random weights, as far as the package reads it."""

    def save(method, task, **arguments) -> Path:
        data = demo_data(task, tiny_bert)
        module = perturb(build_module(method, data.schema, tiny_bert, **arguments))
        if hasattr(module, "head"):
            make_talkative(module.head.emission if task == "ner" else module.head.classifier)
        checkpoint = {"state_dict": module.state_dict(), "MultimodalDataModule": data.state_dict()}
        module.on_save_checkpoint(checkpoint)
        path = tmp_path_factory.mktemp("checkpoints") / f"{method.__name__}_{task}.ckpt"
        torch.save(checkpoint, path)
        return path

    return save


@pytest.fixture(scope="session")
def random_pair(save_checkpoint) -> dict[str, Path]:
    """Checkpoints of HVPNet for both tasks."""
    return {
        task: save_checkpoint(HVPNet, task, vision_backbone="test_resnet") for task in ("ner", "re")
    }
