"""Methods that find certain words, to compare what is read with what is there."""

import torch
from torch import nn

from mmie.data.encoding import WordTokenizer
from mmie.data.pictures import ImageTransform
from mmie.inference.predictor import Predictor
from mmie.methods.tasks import build_task
from mmie.tags import tag_names
from mmie.types import Batch, Prediction, Relation, Schema


class EntityOracle(nn.Module):
    """Method that finds each word that begins with ``B``, with the words of ``I`` behind it.

    The probability of an entity grows with its distance from the ends of what is read, so that it
    tells the window that it was taken from.
    """

    uses_images = reads_pixels = False
    device = torch.device("cpu")

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        self.schema = schema
        self.task = build_task(schema)
        self.batches: list[Batch] = []

    def feature_specs(self):
        return []

    def predict(self, batch: Batch) -> list[Prediction]:
        self.batches.append(batch)
        names = tag_names(self.schema.labels, "bio")
        letters = batch.characters[:, :, 0] - 1  # (batch, words)
        tags = torch.zeros_like(letters)
        tags[letters == ord("B")] = names.index("B-PER")
        tags[letters == ord("I")] = names.index("I-PER")
        tags[~batch.word_mask] = 0
        predictions = []
        for prediction, mask in zip(
            self.task.build_predictions(batch, tags), batch.word_mask, strict=True
        ):
            count = int(mask.sum())
            depths = [
                min(entity.start, count - entity.end) / (count + 1)
                for entity in prediction.entities
            ]
            predictions.append(
                Prediction(prediction.id, prediction.entities, probabilities=tuple(depths))
            )
        return predictions


class RelationOracle(EntityOracle):
    """Method that relates two entities if it has read both, and the words between them."""

    def predict(self, batch: Batch) -> list[Prediction]:
        self.batches.append(batch)
        predictions = []
        for row, relation in enumerate(batch.relations):
            first = min(relation.head.start, relation.tail.start)
            last = max(relation.head.end, relation.tail.end)
            has_read_all = bool(batch.word_mask[row, first:last].all())
            is_marked = bytes((batch.characters[row, first, :1] - 1).tolist()) == b"B"
            label = self.schema.labels[1 if has_read_all and is_marked else 0]
            if batch.allowed is not None and not batch.allowed[row, 1]:
                label = self.schema.labels[0]
            found = Relation(relation.head, relation.tail, label)
            predictions.append(Prediction(batch.ids[row], (), (found,), (0.75,)))
        return predictions


def oracle_predictor(tokenizer: WordTokenizer, task: str, batch_size: int = 4) -> Predictor:
    """Build a predictor of an oracle that reads as much as the tokenizer."""
    labels = ("PER",) if task == "ner" else ("None", "knows")
    schema = Schema(task, labels, tokenizer.vocab_size, max_tokens=tokenizer.max_tokens)
    method = (EntityOracle if task == "ner" else RelationOracle)(schema)
    device = torch.device("cpu")
    return Predictor(method, tokenizer, ImageTransform(16), False, device, batch_size=batch_size)
