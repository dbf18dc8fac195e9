"""Recursions of the CRF against enumeration of all tag sequences."""

import itertools
import math

import pytest
import torch

from mmie.blocks.forward_backward import (
    GAP,
    LogPartition,
    backward_variables,
    best_path,
    forward_variables,
    path_scores,
    select_tags,
    split_emissions,
)

BATCH, WORDS, TAGS = 3, 4, 3
LENGTHS = (4, 1, 3)
MASK = torch.arange(WORDS) < torch.tensor(LENGTHS).unsqueeze(1)


@pytest.fixture
def emissions():
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.randn(BATCH, WORDS, TAGS, generator=generator, dtype=torch.float64)


@pytest.fixture
def scores():
    """Scores of starts (tags,), transitions (from, to) and ends (tags,)."""
    table = torch.randn(TAGS + 2, TAGS, generator=torch.Generator().manual_seed(1))
    starts, *transitions, ends = table.double()
    return starts, torch.stack(transitions), ends


def enumerate_paths(emissions, starts, transitions, ends):
    """Score every tag sequence for the words of one row, {path: score}."""
    scores = {}
    for path in itertools.product(range(TAGS), repeat=len(emissions)):
        score = starts[path[0]] + ends[path[-1]]
        for word, tag in enumerate(path):
            score = score + emissions[word, tag]
        for previous, tag in itertools.pairwise(path):
            score = score + transitions[previous, tag]
        scores[path] = score
    return scores


def run(emissions, scores):
    """Compute alphas and betas as the CRF does."""
    starts, transitions, ends = scores
    valid = MASK.T.unsqueeze(2)
    _, potentials = split_emissions(emissions)
    alphas, norms = forward_variables(potentials, valid, starts.exp(), transitions.exp())
    last = ends.exp() / (alphas[-1] * ends.exp()).sum(dim=1, keepdim=True)
    return alphas, backward_variables(potentials / norms, valid, transitions.exp(), last)


def test_select_tags_takes_one_value_for_each_position(emissions):
    tags = torch.tensor([[0, 1, 2, 0], [2, 2, 1, 0], [1, 0, 1, 2]])
    selected = select_tags(emissions, tags)
    for row, word in itertools.product(range(BATCH), range(WORDS)):
        assert selected[row, word] == emissions[row, word, tags[row, word]]


def test_path_scores_and_best_path_equal_enumeration(emissions, scores):
    best = best_path(emissions, MASK, *scores)
    for row, length in enumerate(LENGTHS):
        paths = enumerate_paths(emissions[row, :length], *scores)
        expected = max(paths, key=lambda path, paths=paths: paths[path])
        assert tuple(best[row, :length].tolist()) == expected
        assert (best[row, length:] == expected[-1]).all()
        for path, score in paths.items():
            tags = torch.tensor([[*path, *[0] * (WORDS - length)]])
            single = slice(row, row + 1)
            result = path_scores(emissions[single], tags, MASK[single], *scores)
            torch.testing.assert_close(result, score.unsqueeze(0))


def test_log_partition_equals_enumeration_and_has_the_numerical_gradient(emissions, scores):
    total = LogPartition.apply(emissions, MASK, *scores)
    for row, length in enumerate(LENGTHS):
        paths = enumerate_paths(emissions[row, :length], *scores)
        torch.testing.assert_close(total[row], torch.stack(list(paths.values())).logsumexp(0))
    inputs = [emissions.requires_grad_(), *(score.requires_grad_() for score in scores)]
    assert torch.autograd.gradcheck(
        lambda emissions, *scores: LogPartition.apply(emissions, MASK, *scores), inputs
    )


def test_forward_variables_are_probabilities_given_the_words_so_far(emissions, scores):
    alphas, _ = run(emissions, scores)
    starts, transitions, ends = scores
    for row, length in enumerate(LENGTHS):
        for word in range(length):
            paths = enumerate_paths(
                emissions[row, : word + 1], starts, transitions, torch.zeros_like(ends)
            )
            weights = torch.zeros(TAGS, dtype=torch.float64)
            for path, score in paths.items():
                weights[path[-1]] += score.exp()
            torch.testing.assert_close(alphas[word, row], weights / weights.sum())
        assert (alphas[length:, row] == alphas[length - 1, row]).all()


def test_products_of_forward_and_backward_variables_are_marginals(emissions, scores):
    alphas, betas = run(emissions, scores)
    for row, length in enumerate(LENGTHS):
        weights = torch.zeros(length, TAGS, dtype=torch.float64)
        for path, score in enumerate_paths(emissions[row, :length], *scores).items():
            weights[range(length), path] += score.exp()
        marginals = weights / weights.sum(dim=1, keepdim=True)
        torch.testing.assert_close((alphas * betas)[:length, row], marginals)


def test_potentials_are_relative_to_the_best_emission_and_bounded():
    emissions = torch.tensor([[[1.0, 3.0, -1e9]]], dtype=torch.float64)
    best, potentials = split_emissions(emissions)
    assert best.tolist() == [[3.0]]
    assert potentials.shape == (1, 1, 3)
    assert potentials[0, 0].tolist() == [math.exp(-2), 1.0, math.exp(-GAP)]
