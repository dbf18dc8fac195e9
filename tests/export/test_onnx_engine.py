"""ONNX Runtime as an engine: every method gives PyTorch's answers, and graphs are written once."""

import numpy as np
import pytest
import torch
from PIL import Image
from test_contract import METHODS

from mmie.data import DemoCorpus
from mmie.data.pictures import ImageTransform
from mmie.export.onnx import VISION
from mmie.export.onnx_engine import MAX_CALIBRATION, read_calibration, use_onnx
from mmie.inference import Extractor
from mmie.types import Post

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
TOLERANCE = 1e-4
IN_SUITE = {("mlnet", "re"), ("imm", "ner")}
"""Methods and tasks that are traced without ``--soak``: an LSTM, and a method that reads pixels."""


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


@pytest.mark.slow
@pytest.mark.parametrize("task", ["ner", "re"])
@pytest.mark.parametrize("name", list(METHODS))
def test_answers_equal_pytorchs(name, task, save_checkpoint, posts, tmp_path, rounds):
    if (name, task) not in IN_SUITE and rounds(0, 1) == 0:
        pytest.skip("traced with --soak alone")
    case = METHODS[name]
    checkpoint = save_checkpoint(case.method, task, **case.arguments)
    extractor, predictor = load(checkpoint)
    expected, expected_probabilities = answers(extractor.extract(posts))
    use_onnx(predictor, tmp_path)
    found, probabilities = answers(extractor.extract(posts))
    assert found == expected
    assert len(found) > len(posts) / 2
    torch.testing.assert_close(probabilities, expected_probabilities, rtol=0, atol=TOLERANCE)


@pytest.mark.slow
def test_graphs_are_written_once_and_quantised_ones_come_from_them(random_pair, posts, tmp_path):
    extractor, predictor = load(random_pair["ner"])
    expected, _ = answers(extractor.extract(posts))
    graphs = use_onnx(predictor, tmp_path)
    assert answers(extractor.extract(posts))[0] == expected
    written = {file: file.stat().st_mtime_ns for file in graphs.iterdir()}
    again, predictor = load(random_pair["ner"])
    assert use_onnx(predictor, tmp_path) == graphs
    assert {file: file.stat().st_mtime_ns for file in graphs.iterdir()} == written
    assert answers(again.extract(posts))[0] == expected

    without_pictures = use_onnx(predictor, tmp_path, "int8")
    assert (without_pictures / VISION).read_bytes() == (graphs / VISION).read_bytes()
    pictures = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (4, 3, 64, 64), dtype=np.uint8)
    )
    quantised = use_onnx(predictor, tmp_path, "int8", pictures)
    for name in ("model.onnx", VISION):
        assert (quantised / name).stat().st_size < (graphs / name).stat().st_size
    found = set(answers(again.extract(posts))[0])
    assert len(found & set(expected)) > 0.5 * len(found | set(expected))

    with torch.no_grad():
        predictor.method.head.emission.bias += 1
    assert use_onnx(predictor, tmp_path) != graphs


def test_a_predictor_in_bfloat16_is_refused(random_pair, tmp_path):
    extractor = Extractor.from_checkpoint(random_pair["ner"], device="cpu", precision="bfloat16")
    with pytest.raises(ValueError, match="leave precision at auto and set device to cpu"):
        use_onnx(extractor.ner, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_calibration_reads_the_first_pictures_of_a_folder(tmp_path):
    transform = ImageTransform(8)
    (tmp_path / "a.txt").write_text("no picture")
    with pytest.raises(ValueError, match="holds no picture that can be read"):
        read_calibration(tmp_path, transform)
    for number in range(MAX_CALIBRATION + 1):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(tmp_path / f"{number:03}.png")
    views = read_calibration(tmp_path, transform)
    assert views[:, 0, 0, 0].tolist() == list(range(MAX_CALIBRATION))
