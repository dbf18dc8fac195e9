import pytest
import torch
from torchmetrics.classification import BinaryCalibrationError

from mmie.metrics import TEMPERATURES, BestTemperature, CalibrationError


def surprise(logits, labels, temperature):
    return torch.nn.functional.cross_entropy(logits / temperature, labels, reduction="none")


@pytest.mark.parametrize("true", [0.9, 1.0, 2.4, 4.0])
def test_finds_the_temperature_that_answers_were_drawn_with(true):
    generator = torch.Generator().manual_seed(0)
    logits = 6 * torch.randn(20_000, 5, generator=generator, dtype=torch.float64)
    labels = torch.multinomial((logits / true).softmax(1), 1, generator=generator).squeeze(1)
    metric = BestTemperature()
    for part in range(0, len(labels), 5000):
        some = slice(part, part + 5000)
        metric.update(torch.stack([surprise(logits[some], labels[some], t) for t in TEMPERATURES]))
    assert metric.compute().item() == pytest.approx(true, rel=0.05)


def test_without_posts_it_is_one():
    assert BestTemperature().compute() == 1


def test_the_error_equals_torchmetrics():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(500, generator=generator)
    right = (torch.rand(500, generator=generator) < probabilities**2).float()
    ours, theirs = CalibrationError(), BinaryCalibrationError(n_bins=10)
    for part in (slice(0, 200), slice(200, 500)):
        ours.update(probabilities[part], right[part])
        theirs.update(probabilities[part], right[part].long())
    torch.testing.assert_close(ours.compute(), theirs.compute())
    assert CalibrationError().compute() == 0
