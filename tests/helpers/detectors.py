"""Photographs, tiny detectors with random weights in the published formats, and a fake detector."""

import string
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from skimage import data
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn
from transformers import (
    BertConfig,
    BertTokenizer,
    CLIPTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    SwinConfig,
)

from mmie.data.demo.tiny_encoders import write_tiny_bert
from mmie.grounding.detection import Detection, Detector

DOG = 18
"""Label of the category that `tiny_coco` detects."""
PHRASES = ["a red rocket", "the astronaut", "a cat", "coffee cup"]


class FakeDetector(Detector):
    """Detector that returns one box for each phrase and records what it is called with.

    Args:
        limit: Number of pictures after which it is interrupted.
        version: Identity of the detector.
    """

    def __init__(self, limit: int = 1000, version: int = 0) -> None:
        self.calls: list[tuple[tuple[int, int], tuple[str, ...]]] = []
        self.limit = limit
        self.version = version

    @property
    def name(self) -> str:
        return "fake"

    @property
    def identity(self) -> Mapping[str, int]:
        return {"version": self.version}

    def detect(
        self, pictures: Sequence[Image.Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        for picture, picture_phrases in zip(pictures, phrases, strict=True):
            self.calls.append((picture.size, tuple(picture_phrases)))
        if len(self.calls) > self.limit:
            raise KeyboardInterrupt
        return [list(map(self._detection, picture_phrases)) for picture_phrases in phrases]

    def _detection(self, phrase: str) -> Detection:
        edge = 20 + len(phrase)
        return Detection((edge, 10, edge + 40, 60), phrase, 1 / edge, self.name)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory) -> dict[str, Path]:
    """Real photographs by name."""
    folder = tmp_path_factory.mktemp("photographs")
    files = {}
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        files[name] = folder / f"{name}.png"
        Image.fromarray(getattr(data, name)()).save(files[name])
    return files


@pytest.fixture(scope="session")
def tiny_owlv2(tmp_path_factory) -> Path:
    """Folder of an OWLv2 as published, whose vocabulary is letters."""
    path = tmp_path_factory.mktemp("owlv2")
    letters = list(string.ascii_lowercase)
    last_letters = [f"{letter}</w>" for letter in letters]
    tokens = ["!", *letters, *last_letters, "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], pad_token="!", model_max_length=16)
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    ends = {
        "bos_token_id": len(vocabulary) - 2,
        "eos_token_id": len(vocabulary) - 1,
        "pad_token_id": 0,
    }
    torch.manual_seed(0)
    config = Owlv2Config(
        text_config={**sizes, **ends, "vocab_size": len(vocabulary), "max_position_embeddings": 16},
        vision_config={**sizes, "image_size": 64, "patch_size": 16},
        projection_dim=16,
    )
    model = Owlv2ForObjectDetection(config)
    # random weights would make boxes without area; small ones leave the boxes near the grid's
    with torch.no_grad():
        model.box_head.dense2.weight.mul_(0.01)
    model.save_pretrained(path)
    image_processor = Owlv2ImageProcessor(size={"height": 64, "width": 64})
    Owlv2Processor(image_processor, tokenizer).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def tiny_grounding_dino(tmp_path_factory) -> Path:
    """Folder of a Grounding DINO as published."""
    path = tmp_path_factory.mktemp("grounding-dino")
    write_tiny_bert(path, PHRASES)
    tokenizer = BertTokenizer.from_pretrained(path)
    torch.manual_seed(0)
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2],
            window_size=4,
            out_indices=[2, 3, 4],
        ),
        text_config=BertConfig.from_pretrained(path).to_dict(),
        num_queries=10,
        d_model=32,
        encoder_layers=1,
        encoder_ffn_dim=32,
        encoder_attention_heads=4,
        decoder_layers=2,
        decoder_ffn_dim=32,
        decoder_attention_heads=4,
        max_text_len=64,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(path)
    size = {"shortest_edge": 128, "longest_edge": 192}
    GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), tokenizer).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def tiny_coco(tmp_path_factory) -> Path:
    """File of the weights of a small detector of torchvision, named as torchvision names it."""
    torch.manual_seed(0)
    module = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None)
    file = tmp_path_factory.mktemp("coco") / "fasterrcnn_mobilenet_v3_large_320_fpn-random.pth"
    state = module.state_dict()
    state["roi_heads.box_predictor.cls_score.bias"][DOG] = 6.0  # it detects dogs everywhere
    torch.save(state, file)
    return file
