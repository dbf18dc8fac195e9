import functools
import json
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # an unreachable hub must answer at once
os.environ["WANDB_MODE"] = "offline"

import pytest
import torch
from tools import build_data

from mmie.data import MultimodalDataModule
from mmie.data.demo import write_demo
from mmie.data.tiny_encoders import write_tiny_roberta

torch.set_num_threads(1)


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
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real corpora's texts are not at {folder}")
    return folder


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
