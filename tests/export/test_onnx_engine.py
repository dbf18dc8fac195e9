"""ONNX Runtime as an engine: every method gives PyTorch's answers, and graphs are written once."""

import pytest
import torch
from test_contract import METHODS

from mmie.data import DemoCorpus
from mmie.export.onnx_engine import use_onnx
from mmie.inference import Extractor
from mmie.types import Post

pytestmark = pytest.mark.slow

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def posts(demo_root):
    """Posts with pictures, and one without."""
    return [*DemoCorpus(demo_root).posts("test"), Post(id="bare", text="Jordan lands in Rome")]


def load(checkpoint):
    """Load an extractor, and its only predictor."""
    extractor = Extractor.from_checkpoint(checkpoint, device="cpu")
    return extractor, extractor.ner or extractor.re


def answers(extractions):
    """Return what was found without probabilities, and the probabilities."""
    found, probabilities = [], []
    for extraction in extractions:
        for mention in extraction.entities:
            found.append((extraction.id, mention.start, mention.end, mention.type))
            probabilities.append(mention.probability)
        for triple in extraction.relations:
            found.append((extraction.id, triple.head.start, triple.tail.start, triple.label))
            probabilities.append(triple.probability)
    return found, torch.tensor(probabilities)


@pytest.mark.parametrize("task", ["ner", "re"])
@pytest.mark.parametrize("name", [name for name in METHODS if name != "rsrnet"])
def test_answers_equal_pytorchs(name, task, save_checkpoint, posts, tmp_path):
    case = METHODS[name]
    checkpoint = save_checkpoint(case.method, task, **case.arguments)
    extractor, predictor = load(checkpoint)
    expected, expected_probabilities = answers(extractor.extract(posts))
    use_onnx(predictor, tmp_path)
    found, probabilities = answers(extractor.extract(posts))
    assert found == expected
    assert len(found) > len(posts) / 2
    torch.testing.assert_close(probabilities, expected_probabilities, rtol=0, atol=TOLERANCE)
