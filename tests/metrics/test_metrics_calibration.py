import pytest
import torch

from mmie.metrics import TEMPERATURES, BestTemperature


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
