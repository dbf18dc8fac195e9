import functools
import json
import logging
import os
import signal
import string
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # an unreachable hub must fail at once
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

# fixtures that several rooms and their commands share
pytest_plugins = ["helpers.detectors", "helpers.fitted_runs"]

torch.set_num_threads(1)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell ignores it in jobs in the background, and so would the processes that tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Lightning decides at import whether its loggers propagate, which caplog needs
for name in ("lightning.pytorch", "lightning.fabric"):
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
    """Function that returns a number of rounds: ``rounds(3, 20)`` is 3, and 20 with ``--soak``."""
    return lambda short, long: long if request.config.getoption("--soak") else short


@pytest.fixture
def _double_precision():
    """Float64 as the default type, and a fixed seed."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    os.environ["MMIE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def demo_root(tmp_path_factory) -> Path:
    """Folder of a small demo corpus."""
    root = tmp_path_factory.mktemp("demo") / "demo"
    write_demo(root, train=48, valid=16, test=16)
    return root


@pytest.fixture(scope="session")
def tiny_bert(demo_root) -> str:
    """Folder of a tiny BERT's configuration and of a tokenizer of the demo corpus's words."""
    return str(demo_root / "encoder")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real corpora's texts beside the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real corpora's texts are not at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def tiny_roberta(demo_root, tmp_path_factory) -> str:
    """Folder of a tiny RoBERTa's configuration and of a tokenizer of the demo corpus's words."""
    folder = tmp_path_factory.mktemp("roberta") / "encoder"
    lines = (demo_root / "train.jsonl").read_text(encoding="utf-8").splitlines()
    write_tiny_roberta(folder, [" ".join(json.loads(line)["words"]) for line in lines])
    return str(folder)


@pytest.fixture(scope="session")
def demo_data(demo_root):
    """Function that returns the data module of the demo corpus for a task and an encoder folder.

    Each data module is set up once and shared, so that tests must not change it.
    """

    @functools.cache
    def data(task, encoder) -> MultimodalDataModule:
        return build_data(demo_root, task, encoder)

    return data


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory) -> Path:
    """Folder of a tiny CLIP in its published layout, with letters as vocabulary."""
    folder = tmp_path_factory.mktemp("clip")
    letters = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase)]
    tokens = [*letters, "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[])
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    text_config = {
        **sizes,
        "vocab_size": len(vocabulary),
        "max_position_embeddings": 12,
        "bos_token_id": vocabulary["<|startoftext|>"],
        "eos_token_id": vocabulary["<|endoftext|>"],
        "pad_token_id": 1,
    }
    vision_config = {**sizes, "image_size": 32, "patch_size": 16}
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text_config, vision_config=vision_config, projection_dim=8)
    CLIPModel(config).save_pretrained(folder)
    processor = CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    CLIPProcessor(processor, tokenizer).save_pretrained(folder)
    return folder


def raise_positive_predictions(classifier):
    """Change a head's linear map so that it predicts O or None less often.

    The larger weights make the predictions depend more on the states.
    """
    with torch.no_grad():
        classifier.weight.mul_(8)
        classifier.bias[0] -= 3


@pytest.fixture(scope="session")
def save_checkpoint(demo_data, tiny_bert, tmp_path_factory):
    """Function that writes a checkpoint of a method with random weights, without training state."""

    def save(method, task, **arguments) -> Path:
        data = demo_data(task, tiny_bert)
        module = perturb(build_module(method, data.schema, tiny_bert, **arguments))
        if hasattr(module, "head"):
            is_ner = task == "ner"
            raise_positive_predictions(module.head.emission if is_ner else module.head.classifier)
        checkpoint = {"state_dict": module.state_dict(), "MultimodalDataModule": data.state_dict()}
        module.on_save_checkpoint(checkpoint)
        file = tmp_path_factory.mktemp("checkpoints") / f"{method.__name__}_{task}.ckpt"
        torch.save(checkpoint, file)
        return file

    return save


@pytest.fixture(scope="session")
def random_pair(save_checkpoint) -> dict[str, Path]:
    """Checkpoints of HVPNet for both tasks, with random weights."""
    files = {}
    for task in ("ner", "re"):
        files[task] = save_checkpoint(HVPNet, task, vision_backbone="test_resnet")
    return files
