import json
import shutil
from pathlib import Path

import pytest
import yaml


@pytest.fixture
def run_folder(random_pair, tmp_path) -> Path:
    """The files of a tested checkpoint's run folder that the card reads."""
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(random_pair["ner"], folder / "best.ckpt")
    config = {
        "seed_everything": 7,
        "data": {"corpus": {"class_path": "mmie.data.Twitter2015"}},
        "model": {"init_args": {"text_encoder": "bert-base-uncased", "pretrained": True}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    best = {"checkpoint": "/elsewhere/run/best.ckpt"}
    metrics = {
        "fit": {"best": {"val/f1": 0.5}},
        "test": {**best, "test/f1": 0.75, "test/precision": 0.8, "test/recall": 0.7},
        "test_shuffled": {**best, "test/f1": 0.25},
        "test_none": {"checkpoint": "/elsewhere/run/last.ckpt", "test/f1": 0.125},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder
