"""The CRF against enumeration of all valid paths and against pytorch-crf."""

import itertools
import pickle

import pytest
import torch
from torchcrf import CRF

from mmie.blocks.crf import ConstrainedCRF
from mmie.tags import allowed_transition, tag_names, tags_to_entities

BIO = tag_names(["PER", "LOC"], "bio")
BIOES = tag_names(["PER"], "bioes")
SCHEMES = [(BIO, "bio"), (BIOES, "bioes")]


def make(tags, scheme, words=4, batch=3, scale=2.0, seed=0):
    torch.manual_seed(seed)
    crf = ConstrainedCRF(tags, scheme)
    for parameter in crf.parameters():
        parameter.data.normal_()
    return crf, scale * torch.randn(batch, words, len(tags))


def is_valid(path, tags, scheme):
    names = [None, *(tags[i] for i in path), None]
    return all(allowed_transition(a, b, scheme) for a, b in itertools.pairwise(names))


def enumerate_paths(crf, emissions, tags, scheme):
    """Score every valid path over one row without padding, {path: score}."""
    start, move, end = crf.start_transitions, crf.transitions, crf.end_transitions
    scores = {}
    for path in itertools.product(range(len(tags)), repeat=len(emissions)):
        if is_valid(path, tags, scheme):
            score = (
                start[path[0]]
                + end[path[-1]]
                + sum(emissions[i, tag] for i, tag in enumerate(path))
            )
            scores[path] = (score + sum(move[a, b] for a, b in itertools.pairwise(path))).double()
    return scores


def make_mask(lengths, words):
    return torch.arange(words) < torch.tensor(lengths)[:, None]


@pytest.mark.parametrize(("tags", "scheme"), SCHEMES)
def test_loss_and_best_path_equal_enumeration(tags, scheme):
    crf, emissions = make(tags, scheme)
    lengths = [4, 1, 3]
    mask = make_mask(lengths, 4)
    gold, best = torch.zeros(2, 3, 4, dtype=torch.long)
    expected = []
    for row, length in enumerate(lengths):
        scores = enumerate_paths(crf, emissions[row, :length], tags, scheme)
        path = list(scores)[len(scores) // 2]
        gold[row, :length] = torch.tensor(path)
        best[row, :length] = torch.tensor(max(scores, key=lambda p: scores[p]))
        expected.append(torch.stack(list(scores.values())).logsumexp(0) - scores[path])
    torch.testing.assert_close(crf.loss(emissions, gold, mask), torch.stack(expected).float())
    assert crf.decode(emissions, mask).equal(best)


@pytest.mark.parametrize(("tags", "scheme"), SCHEMES)
def test_gradients_equal_those_of_enumeration(tags, scheme):
    crf, emissions = make(tags, scheme, words=3, batch=2)
    lengths, weights = [3, 2], [1.0, 2.5]
    mask, gold = make_mask(lengths, 3), torch.zeros(2, 3, dtype=torch.long)
    inputs = [emissions.requires_grad_(), *crf.parameters()]
    ours = torch.autograd.grad(crf.loss(emissions, gold, mask) @ torch.tensor(weights), inputs)
    total = torch.zeros((), dtype=torch.float64)
    for row, (length, weight) in enumerate(zip(lengths, weights, strict=True)):
        scores = enumerate_paths(crf, emissions[row, :length], tags, scheme)
        total = total + weight * (
            torch.stack(list(scores.values())).logsumexp(0) - scores[(0,) * length]
        )
    for mine, literal in zip(ours, torch.autograd.grad(total, inputs), strict=True):
        torch.testing.assert_close(mine, literal)


def test_loss_and_best_path_equal_pytorch_crf_on_long_rows():
    crf, emissions = make(BIO, "bio", words=60, batch=5)
    library = CRF(len(BIO), batch_first=True)
    library.load_state_dict(crf.state_dict())
    for parameter, score in zip(
        (library.start_transitions, library.transitions, library.end_transitions),
        crf.scores(),
        strict=True,
    ):
        parameter.data.copy_(score.detach())
    lengths = [60, 1, 2, 37, 59]
    mask = make_mask(lengths, 60)
    gold = crf.decode(torch.randn_like(emissions), mask)
    expected = -library(emissions, gold, mask, reduction="none")
    torch.testing.assert_close(crf.loss(emissions, gold, mask), expected, rtol=1e-4, atol=1e-3)
    paths = crf.decode(emissions, mask)
    assert [
        row[:length].tolist() for row, length in zip(paths, lengths, strict=True)
    ] == library.decode(emissions, mask)
    assert not paths[~mask].any()


@pytest.mark.parametrize(("tags", "scheme"), SCHEMES)
@pytest.mark.parametrize("scale", [1.0, 100.0, 5000.0])
def test_decoded_paths_are_valid_in_the_scheme(tags, scheme, scale):
    crf, emissions = make(tags, scheme, words=12, batch=50, scale=scale)
    lengths = [1 + row % 12 for row in range(50)]
    for row, length in zip(
        crf.decode(emissions, make_mask(lengths, 12)).tolist(), lengths, strict=True
    ):
        assert is_valid(row[:length], tags, scheme)


@pytest.mark.parametrize(("tags", "scheme"), SCHEMES)
def test_allowed_entries_get_gradient_and_forbidden_ones_none(tags, scheme):
    crf, emissions = make(tags, scheme, words=6, batch=8, scale=0.5)
    crf.loss(
        emissions, torch.zeros(8, 6, dtype=torch.long), torch.ones(8, 6, dtype=torch.bool)
    ).sum().backward()
    names = [
        (crf.start_transitions, [(None, t) for t in tags]),
        (crf.end_transitions, [(t, None) for t in tags]),
    ]
    names.append((crf.transitions, list(itertools.product(tags, tags))))
    for parameter, pairs in names:
        allowed = torch.tensor([allowed_transition(a, b, scheme) for a, b in pairs])
        assert ((parameter.grad.flatten() != 0) == allowed).all()


def test_forbidden_entries_are_never_read():
    crf, emissions = make(BIO, "bio")
    gold, mask = torch.zeros(3, 4, dtype=torch.long), torch.ones(3, 4, dtype=torch.bool)
    before = crf.loss(emissions, gold, mask), crf.decode(emissions, mask)
    crf.transitions.data[crf.forbidden_transitions] = 1e9
    crf.start_transitions.data[crf.forbidden_starts] = 1e9
    assert crf.loss(emissions, gold, mask).equal(before[0])
    assert crf.decode(emissions, mask).equal(before[1])


def test_padding_does_not_change_loss_and_path():
    crf, emissions = make(BIOES, "bioes", words=5)
    gold, mask = torch.zeros(3, 5, dtype=torch.long), make_mask([5, 2, 4], 5)
    wide = torch.cat([emissions, 50 * torch.randn(3, 7, len(BIOES))], dim=1)
    wide[~make_mask([5, 2, 4], 12)] = 1e4
    gold_wide, mask_wide = torch.nn.functional.pad(gold, (0, 7), value=3), make_mask([5, 2, 4], 12)
    torch.testing.assert_close(
        crf.loss(wide, gold_wide, mask_wide), crf.loss(emissions, gold, mask)
    )
    assert crf.decode(wide, mask_wide)[:, :5].equal(crf.decode(emissions, mask))
    assert not crf.decode(wide, mask_wide)[:, 5:].any()
    for row, length in enumerate([5, 2, 4]):
        alone = crf.loss(
            emissions[row : row + 1, :length],
            gold[row : row + 1, :length],
            mask[row : row + 1, :length],
        )
        torch.testing.assert_close(alone[0], crf.loss(emissions, gold, mask)[row])


def test_bfloat16_autocast_does_not_change_loss_and_path():
    crf, emissions = make(BIO, "bio", words=30)
    gold, mask = torch.zeros(3, 30, dtype=torch.long), make_mask([30, 7, 1], 30)
    plain, path = crf.loss(emissions, gold, mask), crf.decode(emissions, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = crf.loss(emissions, gold, mask)
        rounded = crf.loss(emissions.bfloat16(), gold, mask)
        assert crf.decode(emissions, mask).equal(path)
    assert inside.dtype == rounded.dtype == torch.float32
    assert inside.equal(plain)
    assert rounded.equal(crf.loss(emissions.bfloat16().float(), gold, mask))


@pytest.mark.parametrize("scale", [200.0, 3000.0])
def test_extreme_emissions_give_finite_loss_and_gradient(scale):
    crf, emissions = make(BIOES, "bioes", words=40, batch=6, scale=scale)
    gold, mask = torch.zeros(6, 40, dtype=torch.long), make_mask([40, 1, 2, 30, 9, 40], 40)
    crf.loss(emissions.requires_grad_(), gold, mask).sum().backward()
    assert torch.isfinite(crf.loss(emissions, gold, mask)).all()
    assert torch.isfinite(emissions.grad).all()
    assert torch.isfinite(crf.transitions.grad).all()


def test_gold_tags_outside_the_scheme_give_a_large_finite_loss():
    crf, emissions = make(BIO, "bio")
    gold = torch.full((3, 4), BIO.index("I-PER"))
    loss = crf.loss(emissions, gold, torch.ones(3, 4, dtype=torch.bool))
    assert (loss > 1e5).all()
    assert torch.isfinite(loss).all()


def test_initial_parameters_are_small_and_the_module_can_be_pickled():
    crf = ConstrainedCRF(BIO, "bio")
    assert all(parameter.abs().max() <= 0.1 for parameter in crf.parameters())
    copy = pickle.loads(pickle.dumps(crf))
    emissions, mask = torch.randn(2, 5, len(BIO)), torch.ones(2, 5, dtype=torch.bool)
    assert copy.decode(emissions, mask).equal(crf.decode(emissions, mask))


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize(("tags", "scheme"), SCHEMES)
def test_span_probabilities_equal_enumeration(tags, scheme, temperature):
    crf, emissions = make(tags, scheme)
    lengths = [4, 1, 3]
    mask = make_mask(lengths, 4)
    for row, length in enumerate(lengths):
        scores = enumerate_paths(crf, emissions[row, :length], tags, scheme)
        scores = {path: score / temperature for path, score in scores.items()}
        total = torch.stack(list(scores.values())).logsumexp(0)
        spans = {path: set(tags_to_entities([tags[tag] for tag in path])) for path in scores}
        for path in scores:
            decoded = torch.zeros(3, 4, dtype=torch.long)
            decoded[row, :length] = torch.tensor(path)
            terms = crf.span_probabilities(emissions, mask, decoded, temperature)
            enter, step, leave = (term[row] for term in terms)
            for entity in spans[path]:
                start, end = entity.start, entity.end
                log_probability = enter[start] + step[start + 1 : end].sum() + leave[end - 1]
                paths = [scores[other] for other in scores if entity in spans[other]]
                expected = torch.stack(paths).logsumexp(0) - total
                torch.testing.assert_close(log_probability, expected, rtol=1e-6, atol=1e-9)


def test_span_probabilities_of_extreme_emissions_are_finite():
    crf, emissions = make(BIO, "bio", scale=1e5)
    mask = make_mask([4, 4, 4], 4)
    terms = crf.span_probabilities(emissions, mask, crf.decode(emissions, mask))
    assert all(term.isfinite().all() for term in terms)


@pytest.mark.parametrize(("tags", "scheme"), SCHEMES)
def test_marginals_equal_enumeration(tags, scheme):
    crf, emissions = make(tags, scheme)
    lengths = [4, 1, 3]
    marginals = crf.marginals(emissions, make_mask(lengths, 4), temperature=2.0)
    expected = torch.zeros(3, 4, len(tags), dtype=torch.float64)
    for row, length in enumerate(lengths):
        scores = enumerate_paths(crf, emissions[row, :length], tags, scheme)
        weights = torch.stack(list(scores.values())).div(2).softmax(0)
        for path, weight in zip(scores, weights, strict=True):
            for word, tag in enumerate(path):
                expected[row, word, tag] += weight
    torch.testing.assert_close(marginals, expected)
