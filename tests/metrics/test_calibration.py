"""Temperature scaling on drawn answers, and the calibration error against torchmetrics."""

import pytest
import torch
from torchmetrics.classification import BinaryCalibrationError

from mmie.metrics import TEMPERATURES, BestTemperature, CalibrationError
from mmie.metrics.calibration import interpolate_minimum


def losses_at(logits, labels, temperature):
    return torch.nn.functional.cross_entropy(logits / temperature, labels, reduction="none")


@pytest.mark.parametrize("true", [0.9, 1.0, 2.4, 4.0])
def test_best_temperature_is_that_of_the_distribution_of_the_answers(true):
    generator = torch.Generator().manual_seed(0)
    logits = 6 * torch.randn(20_000, 5, generator=generator, dtype=torch.float64)
    labels = torch.multinomial((logits / true).softmax(1), 1, generator=generator).squeeze(1)
    metric = BestTemperature()
    for start in range(0, len(labels), 5000):
        chunk = slice(start, start + 5000)
        losses = [losses_at(logits[chunk], labels[chunk], t) for t in TEMPERATURES]
        metric.update(torch.stack(losses))
    assert metric.compute().item() == pytest.approx(true, rel=0.05)


def test_best_temperature_without_posts_is_one():
    assert BestTemperature().compute() == 1


def test_calibration_error_equals_torchmetrics():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(500, generator=generator)
    right = (torch.rand(500, generator=generator) < probabilities**2).float()
    ours, reference = CalibrationError(), BinaryCalibrationError(n_bins=10)
    for chunk in (slice(0, 200), slice(200, 500)):
        ours.update(probabilities[chunk], right[chunk])
        reference.update(probabilities[chunk], right[chunk].long())
    torch.testing.assert_close(ours.compute(), reference.compute())
    assert CalibrationError().compute() == 0


@pytest.mark.parametrize("index", [0, 6])
def test_least_loss_at_an_end_of_the_grid_is_not_interpolated(index):
    totals = [abs(position - index) for position in range(7)]
    assert interpolate_minimum(totals) == TEMPERATURES[index]


def test_interpolation_stays_between_the_neighbours_of_the_least_loss():
    temperature = interpolate_minimum([9.0, 5.0, 4.0, 4.5, 6.0, 8.0, 9.0])
    assert TEMPERATURES[2] < temperature < TEMPERATURES[3]
