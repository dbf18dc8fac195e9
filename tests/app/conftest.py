"""Extractors to serve."""

import pytest
import torch
from helpers.methods import build_module, perturb
from helpers.serving import Told

from mmie.grounding.center import CenterCrops
from mmie.grounding.cropper import Cropper
from mmie.inference import Extractor
from mmie.inference.predictor import Predictor
from mmie.methods import HVPNet


@pytest.fixture(scope="session")
def extractor(demo_data, tiny_bert) -> Extractor:
    """Two HVPNets with random weights that find a person in every word, and peers in every two of them."""
    answerers = []
    for task in ("ner", "re"):
        data = demo_data(task, tiny_bert)
        module = perturb(
            build_module(HVPNet, data.schema, tiny_bert, vision_backbone="test_resnet")
        )
        with torch.no_grad():
            if task == "ner":
                module.head.emission.bias[1 + 2 * data.schema.labels.index("PER")] += 12
            else:
                module.head.classifier.bias[data.schema.labels.index("/per/per/peer")] += 3
        answerers.append(
            Predictor(module, data.tokenizer, data.transform, False, torch.device("cpu"))
        )
    return Extractor(*answerers, cropper=Cropper(CenterCrops(), 3), workers=2)


@pytest.fixture
def told() -> Told:
    return Told()
