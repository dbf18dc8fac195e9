"""torchmetrics classes against the pure functions, in one process and in two."""

import json
import pickle
import random
import warnings

import pytest
import torch
from helpers.processes import run_in_group

from mmie.metrics import RelationF1, SpanF1, micro, per_type, relation_counts, span_counts
from mmie.types import Entity

pytestmark = pytest.mark.slow

TYPES = ["PER", "LOC", "ORG"]
LABELS = ["None", "/per/loc/at", "/per/per/peer", "/org/loc/in"]


def random_posts(count, seed):
    """Draw predicted and gold entities of posts; one type has no row, the last post is empty."""
    choose = random.Random(seed)
    words = [(0, 1), (1, 3), (3, 4)]
    gold = [
        [Entity(*span, choose.choice([*TYPES, "MISC"])) for span in words] for _ in range(count - 1)
    ]
    predicted = [
        [Entity(*span, choose.choice(TYPES)) for span in words[choose.randrange(3) :]] for _ in gold
    ]
    return [*predicted, []], [*gold, []]


def random_labels(count, seed):
    generator = torch.Generator().manual_seed(seed)
    predicted = torch.randint(len(LABELS), (count,), generator=generator)
    return predicted, torch.randint(-1, len(LABELS), (count,), generator=generator)


def to_numbers(scores):
    return {key: value.item() for key, value in scores.items()}


def test_span_f1_equals_the_pure_function_over_all_updates():
    predicted, gold = random_posts(40, seed=0)
    metric = SpanF1(TYPES)
    for start in range(0, 40, 7):
        metric.update(predicted[start : start + 7], gold[start : start + 7])
    counts = span_counts(predicted, gold, TYPES)
    overall = micro(counts)
    expected = {"f1": overall.f1, "precision": overall.precision, "recall": overall.recall}
    expected |= {f"f1/{name}": scores.f1 for name, scores in per_type(counts, TYPES).items()}
    assert to_numbers(metric.compute()) == to_numbers(
        {key: torch.tensor(value) for key, value in expected.items()}
    )
    assert micro(metric.counts) == overall
    assert 0 < overall.f1 < 1


def test_relation_f1_equals_the_pure_function_over_all_updates():
    predicted, gold = random_labels(50, seed=0)
    metric = RelationF1(LABELS)
    for start in range(0, 50, 8):
        metric.update(predicted[start : start + 8], gold[start : start + 8])
    counts = relation_counts(predicted, gold, len(LABELS), none_index=0)
    scores = to_numbers(metric.compute())
    assert list(scores) == [
        "f1",
        "precision",
        "recall",
        *(f"f1/{label}" for label in LABELS[1:]),
        "accuracy",
    ]
    assert scores["f1"] == torch.tensor(micro(counts).f1).item()
    by_label = per_type(counts, LABELS)
    assert scores["f1//org/loc/in"] == torch.tensor(by_label["/org/loc/in"].f1).item()
    assert scores["accuracy"] == torch.tensor((predicted == gold).sum().item() / 50).item()


def test_none_is_found_by_name_at_any_index():
    metric = RelationF1(["a", "None"])
    metric.update(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]))
    assert to_numbers(metric.compute()) == pytest.approx(
        {"f1": 2 / 3, "precision": 1.0, "recall": 0.5, "f1/a": 2 / 3, "accuracy": 2 / 3}
    )
    without = RelationF1(["a", "b"])
    without.update(torch.tensor([0, 1]), torch.tensor([0, 1]))
    assert to_numbers(without.compute())["f1"] == 1.0


@pytest.mark.parametrize("metric", [SpanF1(TYPES), RelationF1(LABELS)])
def test_scores_without_updates_are_0_without_a_warning(metric):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(to_numbers(metric.compute()).values()) == {0.0}


def test_reset_clears_counts_and_order_does_not_matter():
    predicted, gold = random_posts(30, seed=1)
    metric = SpanF1(TYPES)
    metric.update(predicted, gold)
    forward = to_numbers(metric.compute())
    metric.reset()
    assert set(to_numbers(metric.compute()).values()) == {0.0}
    for post, gold_post in zip(reversed(predicted), reversed(gold), strict=True):
        metric.update([post], [gold_post])
    assert to_numbers(metric.compute()) == forward


def test_forward_returns_scores_of_the_batch_and_accumulates():
    predicted, gold = random_labels(20, seed=2)
    metric, batch, total = RelationF1(LABELS), RelationF1(LABELS), RelationF1(LABELS)
    metric(predicted[:12], gold[:12])
    batch.update(predicted[12:], gold[12:])
    total.update(predicted, gold)
    assert to_numbers(metric(predicted[12:], gold[12:])) == to_numbers(batch.compute())
    assert to_numbers(metric.compute()) == to_numbers(total.compute())


def test_counts_stay_integers_when_the_model_is_cast():
    metric = SpanF1(TYPES).half().to(torch.bfloat16)
    predicted, gold = random_posts(5, seed=3)
    metric.update(predicted, gold)
    assert metric.counts.dtype == torch.int64
    assert to_numbers(pickle.loads(pickle.dumps(metric)).compute()) == to_numbers(metric.compute())


@pytest.mark.parametrize("metric", [SpanF1, RelationF1])
def test_name_given_twice_raises(metric):
    with pytest.raises(ValueError, match="named twice: a, b, a"):
        metric(["a", "b", "a"])


SPLITS = {"uneven": (7, 4), "first rank empty": (0, 11), "second rank empty": (11, 0)}


def score_one_rank(rank, folder):
    """Score a rank's share of 11 samples for each split and write the scores to ``folder``."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = {name: score_share(rank, sizes[0]) for name, sizes in SPLITS.items()}
    results["warnings"] = [
        str(warning.message) for warning in caught if "update" in str(warning.message)
    ]
    (folder / f"{rank}.json").write_text(json.dumps(results))


def score_share(rank, first):
    """Compute a rank's scores, where the first rank has the first ``first`` samples."""
    share = slice(first) if rank == 0 else slice(first, 11)
    spans, relations = SpanF1(TYPES), RelationF1(LABELS)
    predicted, gold = random_posts(11, seed=4)
    for post, gold_post in zip(predicted[share], gold[share], strict=True):
        spans.update([post], [gold_post])
    labels, gold_labels = random_labels(11, seed=4)
    chunks = zip(labels[share].split(3), gold_labels[share].split(3), strict=True)
    for chunk, gold_chunk in chunks:
        if len(chunk):
            relations.update(chunk, gold_chunk)
    return [to_numbers(spans.compute()), to_numbers(relations.compute())]


def test_two_processes_score_exactly_as_one(tmp_path):
    expected = score_share(0, 11)
    run_in_group(score_one_rank, tmp_path)
    for rank in range(2):
        results = json.loads((tmp_path / f"{rank}.json").read_text())
        assert results.pop("warnings") == []
        assert results == {name: expected for name in SPLITS}
    assert 0 < expected[0]["f1"] < 1
    assert 0 < expected[1]["accuracy"] < 1
