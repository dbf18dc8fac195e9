"""Exchanged predictions and axes of answers, by hand."""

from mmie.data.instances import Instance
from mmie.experiments.picture_exchange import ExchangedPredictions
from mmie.metrics import ExchangeBlocks
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
