"""How often an entity's words were an entity in training, read from the corpus that a run's configuration names."""

import importlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from mmie.data import Corpus
from mmie.runs import PredictionRecord, Run
from mmie.types import Entity, MmieError, Post

_BUCKETS = ((1, "unseen"), (2, "once"), (6, "2 to 5 times"))
_MORE = "6 times or more"
FREQUENCIES = (*(name for _, name in _BUCKETS), _MORE)
"""Names of the buckets, rare ones first."""


def training_mentions(run: Run) -> Counter[str] | None:
    """How often each entity occurs in training, in lower case; None if the corpus cannot be read here."""
    if not run.root.expanduser().is_dir():  # a demo corpus that is not there would be written
        return None
    try:
        posts = build_corpus(run.corpus_config).posts("train")
    except (MmieError, ImportError, AttributeError, TypeError, ValueError):
        return None
    return Counter(
        _surface(post.words, mention) for post in posts for mention in _mentions(run, post)
    )


def frequency_bucket(seen: Counter[str], prediction: PredictionRecord, entity: Entity) -> str:
    """The bucket of an entity; of a relation, that of the rarer one of head and tail."""
    mentions = prediction.arguments or (entity,)
    count = min(seen[_surface(prediction.words, mention)] for mention in mentions)
    return next((name for limit, name in _BUCKETS if count < limit), _MORE)


def build_corpus(config: dict[str, Any]) -> Corpus:
    """The corpus of a configuration.

    Raises:
        TypeError: The configuration names something else.
    """
    module, _, name = config["class_path"].rpartition(".")
    corpus = getattr(importlib.import_module(module), name)
    if not (isinstance(corpus, type) and issubclass(corpus, Corpus)):
        raise TypeError(f"expected a corpus, got {config['class_path']}")
    return corpus(**config["init_args"])


def _mentions(run: Run, post: Post) -> Iterable[Entity]:
    """Entities of a training post that the task looks at; a head or tail of several relations is one."""
    of_relations = {side for relation in post.relations for side in (relation.head, relation.tail)}
    return {"ner": post.entities, "re": of_relations}[run.task]


def _surface(words: Sequence[str], mention: Entity) -> str:
    return " ".join(words[mention.start : mention.end]).lower()
