"""The matching loss against literal versions of its equations."""

from typing import get_args

import pytest
import torch
from helpers.matching import TEMPERATURE, literal_divergence, literal_matching

from mmie.blocks.matching import Matching, divergence, matching_loss, matching_scores

HIDDEN = 8
ALL = torch.ones(4, dtype=torch.bool)
NONE = torch.zeros(4, dtype=torch.bool)
SECOND = torch.tensor([False, True, False, False])


def random(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_divergence_equals_equations_6_to_8():
    scores, similarity = random(4, 4), random(4, 4, seed=1).relu()
    similarity[2] = 0
    expected = literal_divergence(scores.tolist(), similarity.tolist())
    assert divergence(scores, similarity, ALL).item() == pytest.approx(expected, rel=1e-9)


def test_divergence_leaves_masked_posts_out():
    scores, similarity = random(4, 4), random(4, 4, seed=1).relu()
    mask = torch.tensor([True, False, True, True])
    expected = divergence(scores[mask][:, mask], similarity[mask][:, mask], ALL[:3])
    torch.testing.assert_close(divergence(scores, similarity, mask), expected)


def test_matching_is_the_mean_of_both_directions():
    text, pictures = random(4, HIDDEN), random(4, HIDDEN, seed=1)
    similarity = random(4, 4, seed=2).relu()
    expected = literal_matching(text, pictures, similarity.tolist())
    loss = matching_loss(text, pictures, similarity, ALL, temperature=TEMPERATURE)
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    scaled = matching_loss(5 * text, pictures, similarity, ALL, temperature=TEMPERATURE)
    assert scaled.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("matching", get_args(Matching))
def test_scores_of_all_kinds_differ_in_the_lengths_that_they_divide_by(matching):
    rows, columns = random(3, HIDDEN), random(4, HIDDEN, seed=1)
    scores = matching_scores(rows, columns, matching, TEMPERATURE)
    for i in range(3):
        for j in range(4):
            length_i, length_j = rows[i].norm(), columns[j].norm()
            divisors = {
                "dot": 1,
                "projection": length_j,
                "cosine": length_i * length_j * TEMPERATURE,
            }
            expected = rows[i] @ columns[j] / divisors[matching]
            torch.testing.assert_close(scores[i, j], expected)


@pytest.mark.parametrize("matching", get_args(Matching))
def test_loss_and_gradients_under_autocast_are_those_in_float32(matching):
    similarity, results = random(4, 4, seed=2).relu().float(), []
    for enabled in (False, True):
        text = random(4, HIDDEN).float().requires_grad_()
        pictures = random(4, HIDDEN, seed=1).float().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = matching_loss(text, pictures, similarity, ALL, matching)
        loss.backward()
        results.append((loss, text.grad, pictures.grad))
    for value, expected in zip(*results, strict=True):
        assert torch.equal(value, expected)


def test_matching_is_lowest_where_pairs_match():
    text, identity = random(4, HIDDEN), torch.eye(4, dtype=torch.float64)
    right = matching_loss(text, text, identity, ALL)
    wrong = text.roll(1, 0)
    assert right < 0.1 * matching_loss(text, wrong, identity, ALL)
    assert matching_loss(text, wrong, identity, SECOND).abs() < 1e-6
    assert matching_loss(text, wrong, identity, NONE) == 0
