"""Exchanged predictions, axes of answers and certificates, by hand."""

from mmie.data.instances import Instance
from mmie.experiments.picture_exchange import ExchangedPredictions
from mmie.metrics import ExchangeBlocks
from mmie.reports.certificate.certificate import Certificate, Interval, PictureUse
from mmie.reports.certificate.outcomes import Axis
from mmie.types import Post, Prediction


def exchange(gold, predictions, pictures, blocks):
    """Build exchanged predictions of posts of one word."""
    instances = []
    for index, entities in enumerate(gold):
        post = Post(f"{index}", ("Jordan",), entities=tuple(entities))
        instances.append(Instance(post, None, None, [], 0, ()))
    by_shift = []
    for row in predictions:
        answers = []
        for index, entities in enumerate(row):
            answer = None if entities is None else Prediction(f"{index}", tuple(entities))
            answers.append(answer)
        by_shift.append(answers)
    return ExchangedPredictions(instances, pictures, ExchangeBlocks(blocks), by_shift)


def type_axis(*names):
    """Return the axis of types."""
    return Axis("Type", names, lambda _record, entity: entity.type)


def build_certificate(p_value):
    """Build a certificate with one part."""
    use = PictureUse(
        name="a|b",
        gold=100,
        true_answers=80,
        f1=0.8,
        other_f1=0.779,
        difference=Interval(0.021, 0.012, 0.03),
        p_value=p_value,
        p_holm=p_value,
        lost=Interval(0.25, 0.2, 0.3),
        needing=Interval(0.3, 0.1, 0.4),
    )
    return Certificate(
        method="HVPNet",
        checkpoint="runs/x/best.ckpt",
        corpus="DemoCorpus",
        root="demo",
        task="ner",
        split="test",
        assignment="right",
        posts=60,
        posts_with_picture=50,
        pictures=40,
        others=19,
        permutations=9999,
        resamples=10_000,
        seed=1,
        total=use,
        parts={"Type": (use,)},
    )
