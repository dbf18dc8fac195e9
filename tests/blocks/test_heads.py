"""Heads against brute force over tag sequences and labels."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from mmie.blocks.heads import RelationHead, TagHead
from mmie.tags import tag_names
from mmie.types import UNKNOWN_LABEL, Batch

TOKENS, LABELS = 7, 4
TAGS = tag_names(["PER"], "bio")
FORBIDDEN = {("O", "I-PER"), (None, "I-PER")}
STATES = torch.eye(TOKENS).expand(2, -1, -1)
"""States (batch, tokens, hidden = tokens), one-hot vectors of their positions."""


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def make_batch(**changes):
    """Make a batch of two posts of four and two words."""
    ids = torch.zeros(2, TOKENS, dtype=torch.long)
    batch = Batch(
        ids=("a", "b"),
        counted=torch.ones(2, dtype=torch.bool),
        index=torch.arange(2),
        input_ids=ids,
        attention_mask=torch.ones_like(ids, dtype=torch.bool),
        token_type_ids=ids,
        token_words=torch.zeros_like(ids),
        characters=torch.ones(2, 4, 1, dtype=torch.long),
        # the third word of the first post has no subword
        word_starts=torch.tensor([[1, 3, 0, 4], [2, 5, 0, 0]]),
        word_mask=torch.tensor([[True] * 4, [True, True, False, False]]),
        view_mask=torch.zeros(2, 1, dtype=torch.bool),
        tags=torch.tensor([[1, 2, 0, 1], [0, 1, 0, 0]]),
    )
    return replace(batch, **changes)


def make_relation_batch(labels=(1, 3), markers=((2, 5), (4, 1))):
    return make_batch(tags=None, markers=torch.tensor(markers), labels=torch.tensor(labels))


def make_tag_head(dropout=0.0):
    torch.manual_seed(0)
    head = TagHead(TOKENS, TAGS, "bio", dropout)
    for parameter in head.parameters():
        parameter.data.normal_()
    return head


def make_relation_head(pooling, **settings):
    torch.manual_seed(0)
    return RelationHead(TOKENS, LABELS, pooling, dropout=0.0, **settings)


def test_word_state_is_that_of_its_first_subword():
    head, batch = make_tag_head(), make_batch()
    emissions = head.emissions(STATES, batch)
    assert emissions.shape == (2, 4, len(TAGS))
    positions_read = [[1, 3, 0, 4], [2, 5, 0, 0]]
    for row, word in itertools.product(range(2), range(4)):
        expected = head.emission.weight[:, positions_read[row][word]] + head.emission.bias
        torch.testing.assert_close(emissions[row, word], expected)


def test_only_states_of_first_subwords_get_gradient():
    head, states = make_tag_head(), STATES.clone().requires_grad_()
    head.loss(states, make_batch()).sum().backward()
    read = states.grad.ne(0).any(-1)
    for row, positions in zip(read, ([0, 1, 3, 4], [2, 5]), strict=True):
        assert row.nonzero().flatten().tolist() == positions


def enumerate_paths(head, emissions):
    """Score every valid tag sequence for one post's emissions (words, tags)."""
    scores = {}
    for path in itertools.product(range(len(TAGS)), repeat=len(emissions)):
        names = [None, *(TAGS[tag] for tag in path)]
        if any(pair in FORBIDDEN for pair in itertools.pairwise(names)):
            continue
        score = head.crf.start_transitions[path[0]] + head.crf.end_transitions[path[-1]]
        score = score + sum(emissions[word, tag] for word, tag in enumerate(path))
        moved = sum(head.crf.transitions[pair] for pair in itertools.pairwise(path))
        scores[path] = (score + moved).item()
    return scores


def test_loss_and_decode_equal_brute_force():
    head, batch = make_tag_head().eval(), make_batch()
    states = torch.randn(2, TOKENS, TOKENS)
    loss, decoded = head.loss(states, batch), head.decode(states, batch)
    assert loss.shape == (2,)
    assert loss.dtype == torch.float32
    emissions = head.emissions(states, batch)
    for row, words in enumerate((4, 2)):
        scores = enumerate_paths(head, emissions[row, :words])
        total = math.log(sum(math.exp(score) for score in scores.values()))
        gold = scores[tuple(batch.tags[row, :words].tolist())]
        assert loss[row].item() == pytest.approx(total - gold, rel=1e-5)
        best = max(scores, key=scores.__getitem__)
        assert decoded[row].tolist() == [*best, *([0] * (4 - words))]


def test_words_cut_off_get_no_loss_and_the_tag_o():
    head, batch = make_tag_head().eval(), make_batch()
    states = torch.randn(2, TOKENS, TOKENS)
    changed = replace(
        batch,
        word_starts=torch.tensor([[1, 3, 0, 4], [2, 5, 6, 6]]),
        tags=torch.tensor([[1, 2, 0, 1], [0, 1, 2, 1]]),
    )
    assert torch.equal(head.loss(states, changed), head.loss(states, batch))
    assert torch.equal(head.decode(states, changed), head.decode(states, batch))
    head.emission.bias.data = torch.tensor([-50.0, 50.0, 0.0])
    assert head.decode(states, changed).tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]


def test_more_words_than_tokens():
    batch = make_batch(
        word_starts=torch.zeros(2, 9, dtype=torch.long),
        word_mask=torch.ones(2, 9, dtype=torch.bool),
        tags=torch.zeros(2, 9, dtype=torch.long),
    )
    head = make_tag_head()
    assert head.decode(STATES[:, :3], batch).shape == (2, 9)
    assert head.loss(STATES[:, :3], batch).isfinite().all()


def test_tag_head_raises_without_gold_tags():
    with pytest.raises(ValueError, match=r"no gold tags.*task ner"):
        make_tag_head().loss(STATES, make_relation_batch())


def test_relation_head_pools_cls():
    batch = make_relation_batch()
    assert torch.equal(make_relation_head("cls").pool(STATES, batch), torch.eye(TOKENS)[[0, 0]])


@pytest.mark.parametrize("markers", [((2, 5), (4, 1)), ((5, 2), (1, 4)), ((0, 0), (6, 6))])
def test_relation_head_pools_the_opening_markers_head_first(markers):
    pooled = make_relation_head("entities").pool(STATES, make_relation_batch(markers=markers))
    assert pooled.shape == (2, 2 * TOKENS)
    for row, (head, tail) in enumerate(markers):
        assert pooled[row].nonzero().flatten().tolist() == [head, TOKENS + tail]


def test_cls_tail_pools_position_0_and_the_opening_marker_of_the_tail():
    """[state of position 0 ; state of `<o>`], 2 * hidden wide, value by value."""
    head, batch = make_relation_head("cls_tail").eval(), make_relation_batch()
    states = torch.randn(2, TOKENS, TOKENS)
    pooled, logits = head.pool(states, batch), head.logits(states, batch)
    assert pooled.shape == (2, 2 * TOKENS)
    assert head.classifier.weight.shape == (LABELS, 2 * TOKENS)
    for row, tail in enumerate([5, 1]):
        for i in range(TOKENS):
            assert pooled[row, i] == states[row, 0, i]
            assert pooled[row, TOKENS + i] == states[row, tail, i]
        for label in range(LABELS):
            score = head.classifier.bias[label].item()
            for i in range(TOKENS):
                score += head.classifier.weight[label, i].item() * states[row, 0, i].item()
                weight = head.classifier.weight[label, TOKENS + i].item()
                score += weight * states[row, tail, i].item()
            assert logits[row, label].item() == pytest.approx(score, rel=1e-4, abs=1e-5)


def test_cls_tail_raises_without_markers():
    with pytest.raises(ValueError, match=r"no entity markers.*task re"):
        make_relation_head("cls_tail").decode(STATES, make_batch())


@pytest.mark.parametrize("pooling", ["cls", "entities", "cls_tail"])
def test_relation_loss_and_decode_equal_loops(pooling):
    head, batch = make_relation_head(pooling).eval(), make_relation_batch()
    states = torch.randn(2, TOKENS, TOKENS)
    loss, decoded = head.loss(states, batch), head.decode(states, batch)
    assert loss.shape == decoded.shape == (2,)
    for row, (first, last) in enumerate([(2, 5), (4, 1)]):
        pooled = states[row, 0]
        if pooling == "entities":
            pooled = torch.cat([states[row, first], states[row, last]])
        if pooling == "cls_tail":
            pooled = torch.cat([states[row, 0], states[row, last]])
        scores = (head.classifier.weight @ pooled + head.classifier.bias).tolist()
        total = math.log(sum(math.exp(score) for score in scores))
        assert loss[row].item() == pytest.approx(total - scores[batch.labels[row]], rel=1e-4)
        assert decoded[row] == scores.index(max(scores))


def test_unknown_gold_label_gives_no_loss_and_no_gradient():
    head = make_relation_head("entities")
    states = torch.randn(2, TOKENS, TOKENS, requires_grad=True)
    known = head.loss(states, make_relation_batch((1, 3)))
    loss = head.loss(states, make_relation_batch((UNKNOWN_LABEL, 3)))
    assert loss[0] == 0
    assert loss[1] == known[1] > 0
    loss.sum().backward()
    assert (states.grad[0] == 0).all()
    assert states.grad[1].ne(0).any()
    assert (head.loss(states, make_relation_batch((UNKNOWN_LABEL, UNKNOWN_LABEL))) == 0).all()


def test_relation_head_raises_without_markers_or_labels():
    with pytest.raises(ValueError, match=r"no entity markers.*task re"):
        make_relation_head("entities").decode(STATES, make_batch())
    for pooling in ("cls", "entities"):
        with pytest.raises(ValueError, match=r"no gold labels.*task re"):
            make_relation_head(pooling).loss(STATES, make_batch())


def make_heads(dropout):
    return [
        (TagHead(TOKENS, TAGS, "bio", dropout), make_batch()),
        (RelationHead(TOKENS, LABELS, "cls", dropout), make_relation_batch()),
        (RelationHead(TOKENS, LABELS, "entities", dropout), make_relation_batch()),
    ]


def test_dropout_acts_in_training_only():
    for head, batch in make_heads(dropout=0.5):
        states = torch.randn(2, TOKENS, TOKENS)
        first, second = (head.loss(states, batch) for _ in range(2))
        assert not torch.equal(first, second)
        head.eval()
        assert torch.equal(head.loss(states, batch), head.loss(states, batch))


def test_losses_are_float32_under_bfloat16_autocast():
    for head, batch in make_heads(dropout=0.0):
        states = torch.randn(2, TOKENS, TOKENS, requires_grad=True)
        expected = head.loss(states, batch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = head.loss(states.bfloat16(), batch)
            decoded = head.decode(states, batch)
        assert loss.dtype == torch.float32
        assert decoded.dtype == torch.long
        torch.testing.assert_close(loss, expected, rtol=0.05, atol=0.05)
        loss.sum().backward()
        assert states.grad.isfinite().all()


def test_losses_are_float32_in_bfloat16_models():
    for head, batch in make_heads(dropout=0.0):
        states = torch.randn(2, TOKENS, TOKENS)
        loss = head.bfloat16().loss(states.bfloat16(), batch)
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, head.float().loss(states, batch), rtol=0.05, atol=0.05)


def test_every_weight_gets_gradient():
    for head, batch in make_heads(dropout=0.0):
        head.loss(torch.randn(2, TOKENS, TOKENS), batch).sum().backward()
        assert all(parameter.grad.ne(0).any() for parameter in head.parameters())


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_losses_at_a_temperature_equal_losses_of_divided_scores(temperature):
    head, batch = make_tag_head(), make_batch()
    (losses,) = head.losses_at([temperature], STATES, batch)
    for parameter in (*head.emission.parameters(), *head.crf.parameters()):
        parameter.data /= temperature
    torch.testing.assert_close(losses, head.loss(STATES, batch))
    relation, pair = make_relation_head("entities"), make_relation_batch(labels=(1, UNKNOWN_LABEL))
    (losses,) = relation.losses_at([temperature], STATES, pair)
    for parameter in relation.classifier.parameters():
        parameter.data /= temperature
    torch.testing.assert_close(losses, relation.loss(STATES, pair))


def test_probabilities_equal_those_of_divided_scores():
    head, batch = make_relation_head("cls"), make_relation_batch()
    head.temperature.fill_(2.0)
    decoded = head.decode(STATES, batch)
    (probabilities,) = head.confidence(STATES, batch, decoded)
    expected = (head.logits(STATES, batch) / 2).softmax(1).amax(1)
    torch.testing.assert_close(probabilities, expected)


def sequence_log_probabilities(head, states, batch, row, length):
    """Compute the log probability of every tag sequence of a row by its loss."""
    logs = []
    for path in itertools.product(range(len(TAGS)), repeat=length):
        names = [None, *(TAGS[tag] for tag in path)]
        if FORBIDDEN.isdisjoint(itertools.pairwise(names)):
            tags = torch.zeros_like(batch.tags)
            tags[row, :length] = torch.tensor(path)
            logs.append(-head.loss(states, replace(batch, tags=tags))[row])
    return torch.stack(logs)


def kl(log_p, log_q):
    """Compute KL(P || Q) = sum p (log p - log q)."""
    return (log_p.exp() * (log_p - log_q)).sum()


def test_divergence_of_tags_equals_enumeration_with_the_other_as_a_constant():
    head = TagHead(TOKENS, TAGS, "bio", dropout=0.0)
    first = torch.randn(2, TOKENS, TOKENS, requires_grad=True)
    second = torch.randn(2, TOKENS, TOKENS, requires_grad=True)
    batch = make_batch()
    values, total = [], torch.zeros(())
    for row, length in enumerate((4, 2)):
        p = sequence_log_probabilities(head, first, batch, row, length)
        q = sequence_log_probabilities(head, second, batch, row, length)
        values.append(kl(p, q) + kl(q, p))
        total = total + kl(p.detach(), q) + kl(q.detach(), p)
    ours = head.divergence(first, second, batch)
    torch.testing.assert_close(ours, torch.stack(values), rtol=1e-4, atol=1e-5)
    gradients = torch.autograd.grad(ours.sum(), [first, second])
    expected = torch.autograd.grad(total, [first, second])
    for mine, literal in zip(gradients, expected, strict=True):
        torch.testing.assert_close(mine, literal, rtol=1e-3, atol=1e-5)


def test_divergence_of_labels_is_the_symmetric_sum():
    head = RelationHead(TOKENS, LABELS, "cls", dropout=0.0)
    batch = make_relation_batch()
    first, second = torch.randn(2, 2, TOKENS, TOKENS)
    p, q = head.logits(first, batch).log_softmax(-1), head.logits(second, batch).log_softmax(-1)
    expected = torch.stack([kl(p[row], q[row]) + kl(q[row], p[row]) for row in range(2)])
    torch.testing.assert_close(head.divergence(first, second, batch), expected)


def test_label_smoothing_spreads_the_gold_probability_in_training_alone():
    head = RelationHead(TOKENS, LABELS, "cls", dropout=0.0, label_smoothing=0.2)
    batch = make_relation_batch(labels=(1, UNKNOWN_LABEL))
    logs = head.logits(STATES, batch).log_softmax(-1)[0]
    smoothed = -(0.8 * logs[1] + 0.2 * logs.mean())
    torch.testing.assert_close(head.loss(STATES, batch), torch.stack([smoothed, torch.zeros(())]))
    assert head.eval().loss(STATES, batch)[0] == -logs[1]
