import pytest
from helpers.command import read_jsonl, write_jsonl

from mmie.inference import Extractor


@pytest.fixture(scope="module")
def records(demo_root):
    """Posts of the demo corpus as a user writes them."""
    lines = []
    for split in ("test", "valid", "train"):
        lines += read_jsonl(demo_root / f"{split}.jsonl")
    return [
        {"id": f"p{number}", "text": " ".join(line["words"]), "image": line["image"]}
        for number, line in enumerate(lines)
    ]


@pytest.fixture
def source(demo_root, records):
    """A file of these posts, beside their pictures."""
    write_jsonl(demo_root / "own.jsonl", records)
    return demo_root / "own.jsonl"


@pytest.fixture(scope="module")
def extractor(random_pair):
    """An extractor of entities that reads eight posts at a time."""
    return Extractor.from_checkpoint(random_pair["ner"], device="cpu", window=8)
