"""Fixtures: real photographs, and tiny detectors with random weights, in the folders and files that the real ones come in."""

import string
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

DOG = 18
PHRASES = ["a red rocket", "the astronaut", "a cat", "coffee cup"]


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
    """A folder as OWLv2's are published, with letters for a vocabulary."""
    path = tmp_path_factory.mktemp("owlv2")
    letters = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase)]
    vocabulary = {
        token: number
        for number, token in enumerate(["!", *letters, "<|startoftext|>", "<|endoftext|>"])
    }
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
    with torch.no_grad():
        model.box_head.dense2.weight.mul_(
            0.01
        )  # random numbers would make boxes without area; so they lie on the grid
    model.save_pretrained(path)
    Owlv2Processor(
        Owlv2ImageProcessor(size={"height": 64, "width": 64}), tokenizer
    ).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def tiny_grounding_dino(tmp_path_factory) -> Path:
    """A folder as Grounding DINO's are published."""
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
    """Weights of a small detector of torchvision, named as it names them."""
    torch.manual_seed(0)
    module = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None)
    file = tmp_path_factory.mktemp("coco") / "fasterrcnn_mobilenet_v3_large_320_fpn-random.pth"
    state = module.state_dict()
    state["roi_heads.box_predictor.cls_score.bias"][DOG] = 6.0  # it finds dogs wherever it looks
    torch.save(state, file)
    return file
