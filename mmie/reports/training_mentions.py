"""Frequency of an entity's words among the entities of the training split."""

from collections import Counter
from collections.abc import Iterable, Sequence

from mmie.reports.corpora import build_corpus
from mmie.runs import PredictionRecord, Run
from mmie.types import Entity, MmieError, Post, Task

_LIMITS = ((1, "unseen"), (2, "once"), (6, "2 to 5 times"))
"""Names of the buckets, with the smallest frequency that is above the bucket."""
_MOST_FREQUENT = "6 times or more"
FREQUENCIES = (*(name for _, name in _LIMITS), _MOST_FREQUENT)
"""Names of all buckets, the rarest entities first."""


def count_training_mentions(run: Run) -> Counter[str] | None:
    """Count how often each entity occurs in the training split of the run's corpus.

    Returns:
        The number of occurrences by the entity's words in lower case; None if the corpus cannot be
        read on this machine.
    """
    try:
        posts = build_corpus(run.corpus_config).posts("train")
    except MmieError:
        return None
    return count_mentions(posts, run.task)


def count_mentions(posts: Iterable[Post], task: Task) -> Counter[str]:
    """Count how often each entity occurs in posts, by its words in lower case.

    For RE, the entities of a post are the distinct arguments of its relations.
    """
    counts: Counter[str] = Counter()
    for post in posts:
        counts.update(_lower_words(post.words, entity) for entity in _entities(task, post))
    return counts


def frequency_bucket(counts: Counter[str], prediction: PredictionRecord, entity: Entity) -> str:
    """Return the bucket of an entity, or that of a relation's rarer argument.

    Args:
        counts: Occurrences in training.
        prediction: The instance.
        entity: An entity of the instance, or its relation.
    """
    entities = prediction.arguments or (entity,)
    count = min(counts[_lower_words(prediction.words, part)] for part in entities)
    for limit, name in _LIMITS:
        if count < limit:
            return name
    return _MOST_FREQUENT


def _entities(task: Task, post: Post) -> Iterable[Entity]:
    """Return the entities of a training post, or the distinct arguments of its relations for RE."""
    arguments: set[Entity] = set()
    for relation in post.relations:
        arguments.update((relation.head, relation.tail))
    return {"ner": post.entities, "re": arguments}[task]


def _lower_words(words: Sequence[str], entity: Entity) -> str:
    """Join the words of an entity in lower case."""
    return " ".join(words[entity.start : entity.end]).lower()
