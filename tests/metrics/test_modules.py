import json
import pickle
import random
import warnings

import pytest
import torch
from torch import distributed, multiprocessing

from mmie.metrics import RelationF1, SpanF1, micro, per_type, relation_counts, span_counts
from mmie.types import Entity

TYPES = ["PER", "LOC", "ORG"]
LABELS = ["None", "/per/loc/at", "/per/per/peer", "/org/loc/in"]


def random_posts(count, seed):
    """Predicted and gold entities of ``count`` posts; one type has no row, one post is empty on both sides."""
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


def plain(scores):
    return {key: value.item() for key, value in scores.items()}


def test_span_f1_is_the_pure_function_over_all_updates():
    predicted, gold = random_posts(40, seed=0)
    metric = SpanF1(TYPES)
    for start in range(0, 40, 7):
        metric.update(predicted[start : start + 7], gold[start : start + 7])
    counts = span_counts(predicted, gold, TYPES)
    overall = micro(counts)
    expected = {"f1": overall.f1, "precision": overall.precision, "recall": overall.recall}
    expected |= {f"f1/{name}": one.f1 for name, one in per_type(counts, TYPES).items()}
    assert plain(metric.compute()) == plain(
        {key: torch.tensor(value) for key, value in expected.items()}
    )
    assert micro(metric.counts) == overall
    assert 0 < overall.f1 < 1


def test_relation_f1_is_the_pure_function_over_all_updates():
    predicted, gold = random_labels(50, seed=0)
    metric = RelationF1(LABELS)
    for start in range(0, 50, 8):
        metric.update(predicted[start : start + 8], gold[start : start + 8])
    counts = relation_counts(predicted, gold, len(LABELS), none_index=0)
    found = plain(metric.compute())
    assert list(found) == [
        "f1",
        "precision",
        "recall",
        *(f"f1/{label}" for label in LABELS[1:]),
        "accuracy",
    ]
    assert found["f1"] == torch.tensor(micro(counts).f1).item()
    assert (
        found["f1//org/loc/in"] == torch.tensor(per_type(counts, LABELS)["/org/loc/in"].f1).item()
    )
    assert found["accuracy"] == torch.tensor((predicted == gold).sum().item() / 50).item()


def test_none_is_found_by_its_name_wherever_it_stands():
    metric = RelationF1(["a", "None"])
    metric.update(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]))
    assert plain(metric.compute()) == pytest.approx(
        {"f1": 2 / 3, "precision": 1.0, "recall": 0.5, "f1/a": 2 / 3, "accuracy": 2 / 3}
    )
    without = RelationF1(["a", "b"])
    without.update(torch.tensor([0, 1]), torch.tensor([0, 1]))
    assert plain(without.compute())["f1"] == 1.0


@pytest.mark.parametrize("metric", [SpanF1(TYPES), RelationF1(LABELS)])
def test_no_update_scores_zero_without_a_warning(metric):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(plain(metric.compute()).values()) == {0.0}


def test_reset_forgets_and_order_does_not_matter():
    predicted, gold = random_posts(30, seed=1)
    metric = SpanF1(TYPES)
    metric.update(predicted, gold)
    forward = plain(metric.compute())
    metric.reset()
    assert set(plain(metric.compute()).values()) == {0.0}
    for found, true in zip(reversed(predicted), reversed(gold), strict=True):
        metric.update([found], [true])
    assert plain(metric.compute()) == forward


def test_forward_gives_the_batch_and_keeps_the_total():
    predicted, gold = random_labels(20, seed=2)
    metric, batch, total = RelationF1(LABELS), RelationF1(LABELS), RelationF1(LABELS)
    metric(predicted[:12], gold[:12])
    batch.update(predicted[12:], gold[12:])
    total.update(predicted, gold)
    assert plain(metric(predicted[12:], gold[12:])) == plain(batch.compute())
    assert plain(metric.compute()) == plain(total.compute())


def test_counts_stay_integers_when_the_model_is_cast():
    metric = SpanF1(TYPES).half().to(torch.bfloat16)
    predicted, gold = random_posts(5, seed=3)
    metric.update(predicted, gold)
    assert metric.counts.dtype == torch.int64
    assert plain(pickle.loads(pickle.dumps(metric)).compute()) == plain(metric.compute())


@pytest.mark.parametrize("metric", [SpanF1, RelationF1])
def test_a_name_given_twice_is_refused(metric):
    with pytest.raises(ValueError, match="named twice: a, b, a"):
        metric(["a", "b", "a"])


SPLITS = {"uneven": (7, 4), "first rank empty": (0, 11), "second rank empty": (11, 0)}


def score_one_rank(rank, folder):
    """Score this rank's share of 11 samples for each split, and leave what `compute` says in ``folder``."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = {name: score_share(rank, sizes[0]) for name, sizes in SPLITS.items()}
    results["warnings"] = [
        str(warning.message) for warning in caught if "update" in str(warning.message)
    ]
    (folder / f"{rank}.json").write_text(json.dumps(results))
    distributed.destroy_process_group()


def score_share(rank, first):
    """What this rank computes if the first rank has the first ``first`` samples and this one may have none."""
    share = slice(first) if rank == 0 else slice(first, 11)
    spans, relations = SpanF1(TYPES), RelationF1(LABELS)
    predicted, gold = random_posts(11, seed=4)
    for found, true in zip(predicted[share], gold[share], strict=True):
        spans.update([found], [true])
    labels, gold_labels = random_labels(11, seed=4)
    for found, true in zip(labels[share].split(3), gold_labels[share].split(3), strict=True):
        if len(found):
            relations.update(found, true)
    return [plain(spans.compute()), plain(relations.compute())]


def test_two_processes_score_exactly_what_one_does(tmp_path):
    expected = score_share(0, 11)
    multiprocessing.spawn(score_one_rank, args=(tmp_path,), nprocs=2)
    for rank in range(2):
        results = json.loads((tmp_path / f"{rank}.json").read_text())
        assert results.pop("warnings") == []
        assert results == {name: expected for name in SPLITS}
    assert 0 < expected[0]["f1"] < 1
    assert 0 < expected[1]["accuracy"] < 1
