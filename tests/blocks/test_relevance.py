"""RAP's relevance (Section 3.3) against the paper's Equations 1 to 8 and Algorithm 1.

The transcriptions loop over the single numbers that the equations' indices name. Names of indices
are those of the paper.
"""

import math

import pytest
import torch
from helpers.literal import cosine, dot, length, masked_rows, matvec, relu, softmax, weighted_sum
from helpers.processes import PROCESSES, run_in_group
from torch import nn

from mmie.blocks.relevance import GateNorm, GraphRound, Relevance

POSTS, TOKENS, VIEWS, HIDDEN, SIZE = 4, 6, 4, 8, 5
MASK = torch.tensor(
    [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0]]
).bool()
WORDS = torch.tensor(
    [[0, 1, 1, 1, 1, 0], [0, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0]]
).bool()
VIEW_MASK = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]]).bool()
LOCAL_MASK = torch.tensor([[0, 1, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]]).bool()

pytestmark = pytest.mark.usefixtures("_double_precision")


@pytest.fixture
def text():
    return torch.randn(POSTS, TOKENS, HIDDEN)


@pytest.fixture
def views():
    return torch.randn(POSTS, VIEWS, HIDDEN) * VIEW_MASK.unsqueeze(-1)


def build(**settings):
    """Build a relevance module whose weights are all drawn, so that none is an identity."""
    relevance = Relevance(HIDDEN, size=SIZE, **settings).eval()
    for parameter in relevance.parameters():
        nn.init.normal_(parameter, std=0.5)
    return relevance


def equation_1(mu, v, weight):
    """r(mu, v, W) = W |mu - v|^2 / || W |mu - v|^2 ||_2."""
    squared = [abs(mu[d] - v[d]) ** 2 for d in range(len(mu))]
    numerator = matvec(weight.weight.tolist(), squared)
    norm = length(numerator)
    return [value / norm for value in numerator]


def equation_3(mu, v, smoothing, cosine_norm):
    """alpha_ij = softmax(lambda [cos(mu_i, v_j)]_+ / sqrt(sum [cos]_+^2)), softmax over j."""
    positive = []
    for mu_i in mu:
        positive.append([max(0.0, cosine(mu_i, v_j)) for v_j in v])
    alpha = []
    for i in range(len(mu)):
        scores = []
        for j in range(len(v)):
            total = 0.0
            if cosine_norm == "views":  # the sum over j, as printed
                for j_of_sum in range(len(v)):
                    total += positive[i][j_of_sum] ** 2
            else:  # the sum of L terms, one for each word, as in SGRAF
                for i_of_sum in range(len(mu)):
                    total += positive[i_of_sum][j] ** 2
            scores.append(smoothing * positive[i][j] / math.sqrt(total) if total else 0.0)
        alpha.append(softmax(scores))
    return alpha


def equation_4(alpha, v, i):
    """a_i = sum_j alpha_ij v_j."""
    return weighted_sum(alpha[i], v, HIDDEN)


def equation_6(r, graph_round):
    """e_st = exp((W_src r_s)(W_tgt r_t)) / sum_q exp((W_src r_s)(W_tgt r_q))."""
    edges = []
    for r_s in r:
        source = matvec(graph_round.source.weight.tolist(), r_s)
        products = []
        for r_t in r:
            products.append(dot(source, matvec(graph_round.target.weight.tolist(), r_t)))
        total = sum(math.exp(product) for product in products)
        edges.append([math.exp(product) / total for product in products])
    return edges


def equations_7_and_8(r, edges, graph_round):
    """r^_s = sum_t e_st r_t, then r_s = ReLU(W_r r^_s)."""
    updated = []
    for s in range(len(r)):
        summed = [0.0] * SIZE
        for t in range(len(r)):
            for k in range(SIZE):
                summed[k] += edges[s][t] * r[t][k]
        updated.append(relu(matvec(graph_round.update.weight.tolist(), summed)))
    return updated


def self_attention(pooling, states):
    """Pool states by one linear score, 0 for no states."""
    scores = [matvec(pooling.score.weight.tolist(), state)[0] for state in states]
    return weighted_sum(softmax(scores), states, HIDDEN)


def unit(vector):
    norm = length(vector)
    return [value / norm for value in vector] if norm else vector


def algorithm_1(relevance, tokens, words, v, local_v, cosine_norm, normalises):
    """Compute W_s r_g of one post, of the vectors themselves or of vectors of length 1."""
    change = unit if normalises else list
    tokens, words, v, local_v = (
        [change(vector) for vector in group] for group in (tokens, words, v, local_v)
    )
    g_mu = change(self_attention(relevance.text_pooling, tokens))
    g_v = change(self_attention(relevance.view_pooling, v))
    r = [equation_1(g_mu, g_v, relevance.compare_global)]  # Equation 2
    alpha = equation_3(words, local_v, relevance.sharpness, cosine_norm)
    for i in range(len(words)):
        attended = change(equation_4(alpha, local_v, i))
        r.append(equation_1(words[i], attended, relevance.compare_local))  # Equation 5
    for graph_round in relevance.rounds:
        r = equations_7_and_8(r, equation_6(r, graph_round), graph_round)
    return matvec(relevance.score.weight.tolist(), r[0])[0]


def test_equation_1():
    relevance = build(gate_norm="none")
    mu, v = torch.randn(2, 3, HIDDEN), torch.randn(2, 3, HIDDEN)
    result = relevance.compare(mu, v, relevance.compare_local)
    assert result.shape == (2, 3, SIZE)
    for post in range(2):
        for i in range(3):
            expected = equation_1(
                mu[post, i].tolist(), v[post, i].tolist(), relevance.compare_local
            )
            assert result[post, i].tolist() == pytest.approx(expected, rel=1e-12)


def test_equation_1_compares_vectors_of_length_1_with_the_gate_norm():
    relevance = build(gate_norm="batch")
    mu, v = torch.randn(HIDDEN), 7 * torch.randn(HIDDEN)
    result = relevance.compare(mu, v, relevance.compare_global)
    expected = equation_1(unit(mu.tolist()), unit(v.tolist()), relevance.compare_global)
    assert result.tolist() == pytest.approx(expected, rel=1e-12)


def test_compare_of_equal_vectors_is_0_with_finite_gradients():
    relevance, vector = build(), torch.randn(1, HIDDEN, requires_grad=True)
    result = relevance.compare(vector, vector.detach(), relevance.compare_local)
    assert (result == 0).all()
    result.sum().backward()
    assert vector.grad.isfinite().all()


@pytest.mark.parametrize("cosine_norm", ["words", "views"])
@pytest.mark.parametrize("smoothing", [9.0, 2.0])
def test_equations_3_and_4(text, views, cosine_norm, smoothing):
    relevance = build(cosine_norm=cosine_norm, sharpness=smoothing)
    result = relevance.attend_views(text, WORDS, views, LOCAL_MASK)
    for post in range(POSTS):
        words = masked_rows(text[post], WORDS[post])
        local = masked_rows(views[post], LOCAL_MASK[post])
        alpha = equation_3(words, local, smoothing, cosine_norm)
        actual = masked_rows(result[post], WORDS[post])
        for i in range(len(words)):
            assert actual[i] == pytest.approx(equation_4(alpha, local, i), rel=1e-12)


def test_the_axes_of_equation_3_differ(text, views):
    words, of_views = (build(cosine_norm=norm) for norm in ("words", "views"))
    results = [
        module.attend_views(text, WORDS, views, LOCAL_MASK)[0, 1] for module in (words, of_views)
    ]
    assert (results[0] - results[1]).abs().max() > 0.01


@pytest.mark.parametrize("cosine_norm", ["words", "views"])
def test_attention_is_uniform_if_all_cosines_are_negative(cosine_norm):
    word, views = torch.ones(1, 1, HIDDEN), -torch.rand(1, 2, HIDDEN) - 0.1
    relevance = build(cosine_norm=cosine_norm)
    result = relevance.attend_views(word, torch.ones(1, 1).bool(), views, torch.ones(1, 2).bool())
    torch.testing.assert_close(result[0, 0], views[0].mean(0))


def test_equations_6_to_8():
    graph_round = GraphRound(SIZE)
    nodes = torch.randn(POSTS, 1 + TOKENS, SIZE)
    mask = nn.functional.pad(WORDS, (1, 0), value=True)
    result = graph_round(nodes, mask)
    for post in range(POSTS):
        r = masked_rows(nodes[post], mask[post])
        expected = equations_7_and_8(r, equation_6(r, graph_round), graph_round)
        actual = masked_rows(result[post], mask[post])
        for s in range(len(r)):
            assert actual[s] == pytest.approx(expected[s], rel=1e-12)


def test_every_round_has_weights_of_its_own():
    relevance = Relevance(HIDDEN, size=SIZE)
    assert len(relevance.rounds) == 2
    for name in ("source", "target", "update"):
        first, second = (getattr(graph_round, name).weight for graph_round in relevance.rounds)
        assert not torch.equal(first, second)


@pytest.mark.parametrize("cosine_norm", ["words", "views"])
@pytest.mark.parametrize("gate_norm", ["none", "batch"])
def test_beta_equals_algorithm_1(text, views, cosine_norm, gate_norm):
    relevance = build(gate_norm=gate_norm, cosine_norm=cosine_norm)
    if gate_norm == "batch":
        relevance.norm.running_mean.fill_(0.3)
        relevance.norm.running_var.fill_(0.04)
    beta = relevance(text, MASK, WORDS, views, VIEW_MASK, LOCAL_MASK)
    assert beta.shape == (POSTS,)
    for post in range(POSTS):
        score = algorithm_1(
            relevance,
            masked_rows(text[post], MASK[post]),
            masked_rows(text[post], WORDS[post]),
            masked_rows(views[post], VIEW_MASK[post]),
            masked_rows(views[post], LOCAL_MASK[post]),
            cosine_norm,
            normalises=gate_norm == "batch",
        )
        if gate_norm == "none":
            expected = score + relevance.score.bias.item()
        else:
            scale, shift = relevance.norm.scale.item(), relevance.norm.shift.item()
            expected = scale * (score - 0.3) / math.sqrt(0.04 + relevance.norm.eps) + shift
        assert beta[post].item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("gate_norm", ["none", "batch"])
def test_gates_start_open(gate_norm):
    relevance = Relevance(HIDDEN, gate_norm=gate_norm)
    if gate_norm == "none":
        assert relevance.score.bias.item() == 0.5
        assert relevance.norm is None
    else:
        assert relevance.score.bias is None
        assert (relevance.norm.scale.item(), relevance.norm.shift.item()) == (0.5, 1.5)


def test_masked_views_and_padding_have_no_influence(text, views):
    relevance = build()
    noise = torch.where(VIEW_MASK.unsqueeze(-1), views, torch.randn_like(views))
    noisy_text = torch.where(MASK.unsqueeze(-1), text, torch.randn_like(text))
    expected = relevance(text, MASK, WORDS, views, VIEW_MASK, LOCAL_MASK)
    result = relevance(noisy_text, MASK, WORDS, noise, VIEW_MASK, LOCAL_MASK)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)


def test_autocast_does_not_change_beta(text, views):
    relevance = build().float().train()
    inputs = (text.float(), MASK, WORDS, views.float(), VIEW_MASK, LOCAL_MASK)
    expected = relevance(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        result = relevance(*inputs)
    assert result.dtype == torch.float32
    assert torch.equal(result, expected)


def test_gate_norm_uses_the_posts_with_pictures_in_training():
    norm = GateNorm(eps=0.01).train()
    beta, has_picture = torch.randn(POSTS), torch.tensor([True, True, False, True])
    values = [beta[post].item() for post in (0, 1, 3)]
    mean = sum(values) / 3
    variance = sum((value - mean) ** 2 for value in values) / 3
    result = norm(beta, has_picture)
    for post in range(POSTS):
        expected = 0.5 * (beta[post].item() - mean) / math.sqrt(variance + 0.01) + 1.5
        assert result[post].item() == pytest.approx(expected, rel=1e-12)


def test_gates_of_eight_posts_start_positive():
    norm = GateNorm().train()
    for _ in range(100):
        beta = torch.randn(8).exp()  # with outliers
        assert (torch.tanh(norm(beta, torch.ones(8).bool())) > 0).all()


def test_gate_norm_averages_the_statistics_of_batches():
    norm, means, variances = GateNorm(momentum=0.4).train(), [], []
    everywhere = torch.ones(POSTS).bool()
    for _ in range(4):
        beta = torch.randn(POSTS)
        norm(beta, everywhere)
        means.append(beta.mean().item())
        variances.append(beta.var().item())  # of the population, as batch norms keep it
    weights = [0.5 * 0.6 * 0.6, 0.5 * 0.6 * 0.6, 0.4 * 0.6, 0.4]  # shares 1, 1/2, 0.4, 0.4
    assert norm.running_mean.item() == pytest.approx(dot(weights, means))
    assert norm.running_var.item() == pytest.approx(dot(weights, variances))
    beta = torch.randn(POSTS)
    expected = 0.5 * (beta - norm.running_mean) / (norm.running_var + norm.eps).sqrt() + 1.5
    torch.testing.assert_close(norm.eval()(beta, everywhere), expected)


@pytest.mark.parametrize("count", [0, 1])
def test_gate_norm_uses_running_statistics_below_two_pictures(count):
    norm = GateNorm().train()
    norm(torch.randn(POSTS), torch.ones(POSTS).bool())
    before = [buffer.clone() for buffer in norm.buffers()]
    beta = torch.randn(POSTS, requires_grad=True)
    result = norm(beta, torch.arange(POSTS) < count)
    expected = 0.5 * (beta - norm.running_mean) / (norm.running_var + norm.eps).sqrt() + 1.5
    torch.testing.assert_close(result, expected)
    result.sum().backward()
    assert beta.grad.isfinite().all()
    assert beta.grad.all()
    assert all(map(torch.equal, before, norm.buffers()))


def joint_betas():
    """Return betas of a joint batch, which posts have pictures, and targets."""
    generator = torch.Generator().manual_seed(0)
    betas, targets = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    # the second process has no post with a picture
    return betas, torch.tensor([True, False, True, False, True, False]), targets


def normalise_in_one_process(rank, folder):
    """Save the gradient and statistics of a process whose loss is that of its own posts."""
    betas, has_picture, targets = (rows[rank::PROCESSES] for rows in joint_betas())
    norm, weight = GateNorm().double(), torch.ones(1, dtype=torch.float64, requires_grad=True)
    (norm(betas + weight * betas**2, has_picture) - targets).pow(4).mean().backward()
    results = {"gradients": [weight.grad, norm.scale.grad], "buffers": list(norm.buffers())}
    torch.save(results, folder / f"{rank}.pt")


@pytest.mark.slow
def test_two_processes_normalise_as_one(tmp_path):
    run_in_group(normalise_in_one_process, tmp_path)
    results = [torch.load(tmp_path / f"{rank}.pt") for rank in range(PROCESSES)]
    betas, has_picture, targets = joint_betas()
    norm, weight = GateNorm(), torch.ones(1, requires_grad=True)
    (norm(betas + weight * betas**2, has_picture) - targets).pow(4).mean().backward()
    for index, expected in enumerate((weight.grad, norm.scale.grad)):
        mean = sum(result["gradients"][index] for result in results) / PROCESSES
        torch.testing.assert_close(mean, expected)
    for result in results:
        for actual, expected in zip(result["buffers"], norm.buffers(), strict=True):
            torch.testing.assert_close(actual, expected)
