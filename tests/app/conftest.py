"""Servers of an extractor with random methods, and of a fake one that can be blocked."""

import pytest
import torch
from fastapi.testclient import TestClient
from helpers.methods import build_module, perturb
from helpers.serving import FakeExtractor

from mmie.app.limits import Limits
from mmie.app.server import build_app
from mmie.grounding.center import CenterCrops
from mmie.grounding.cropper import Cropper
from mmie.inference import Extractor
from mmie.inference.predictor import Predictor
from mmie.methods import HVPNet


@pytest.fixture(scope="session")
def extractor(demo_data, tiny_bert) -> Extractor:
    """HVPNets with random weights that find a person in every word and a peer in every pair."""
    predictors = []
    for task in ("ner", "re"):
        data = demo_data(task, tiny_bert)
        module = build_module(HVPNet, data.schema, tiny_bert, vision_backbone="test_resnet")
        perturb(module)
        with torch.no_grad():
            if task == "ner":
                module.head.emission.bias[1 + 2 * data.schema.labels.index("PER")] += 12
            else:
                module.head.classifier.bias[data.schema.labels.index("/per/per/peer")] += 3
        device = torch.device("cpu")
        predictors.append(Predictor(module, data.tokenizer, data.transform, False, device))
    return Extractor(*predictors, cropper=Cropper(CenterCrops(), 3), workers=2)


@pytest.fixture
def fake_extractor() -> FakeExtractor:
    return FakeExtractor()


@pytest.fixture(scope="module")
def client(extractor):
    """Client of a server that takes few posts and small requests."""
    with TestClient(build_app(extractor, Limits(max_posts=4, max_body=200_000))) as client:
        yield client


@pytest.fixture
def fake_client(fake_extractor):
    """Client of a small server of the fake extractor."""
    limits = Limits(max_waiting=2, batch_size=2, linger=0.0, answer_seconds=0.4, max_body=1000)
    app = build_app(fake_extractor, limits)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
        fake_extractor.unblocked.set()
