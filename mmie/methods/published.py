"""The row of a paper's tables that a configuration repeats.

A published score stands beside a run only if it is the score of what was run. These decide:

- the corpus of the test and that of the training. A demo corpus or own posts have no row.
- the edition of the corpus, if the run records it
- the weights that the training started from: none, those of another task, or a pretraining
- the settings of method and data

The first three must be those of the row. A setting must have a value that is the paper's method: a
value of `Paper.choices`, or else the default of the constructor. A row of an ablation table names
the settings in which it differs. These settings are free:

- `TRAINING_SETTINGS`: learning rates, dropout and the like, and settings of the machine
- settings of the trainer, and those of the data that `DATA_CHOICES` does not name, such as the
  batch size. The papers do not give them all, and what they give is listed in the configurations.
- seeds
- settings of the other task (`TASK_SETTINGS`), and those without effect (`Paper.unused`)

A run that differs in any other setting is a run that no paper reports. The constructor's default
stands for the paper where the paper gives no number. Another number is then no row either.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from mmie.methods.papers import (
    CORPORA,
    DATA_CHOICES,
    EDITIONS,
    TASK_SETTINGS,
    TRAINING_SETTINGS,
    Paper,
    Published,
    Settings,
)

_INIT_FROM = "model.init_from"
_NOT_COMPARED = (*TRAINING_SETTINGS, _INIT_FROM, "model.class_path", "model.schema")
_NETWORKS = (
    "model.text_encoder",
    "model.vision_backbone",
    "model.patch_embedding",
    "model.clip",
)
"""Settings that hold the name of a pretrained network, or the folder of one with that name."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Configuration of a fit.

    Attributes:
        method: Class name of the method.
        corpus: Class name of the corpus of the training.
        settings: Settings by dotted name without ``init_args``.
        defaults: Defaults of the method's constructor, likewise. They hold where a setting is
            missing.
    """

    method: str
    corpus: str
    settings: Settings
    defaults: Settings


def find_published(
    paper: Paper,
    trained: Configuration,
    tested_on: str,
    edition: str | None = None,
    start: Configuration | None = None,
) -> Published | None:
    """Find the row of the paper's tables that a run repeats.

    Args:
        paper: Paper of the run's method.
        trained: Configuration of the training.
        tested_on: Class name of the corpus of the test.
        edition: Edition of that corpus. None if it is not known, which any edition may be.
        start: Configuration of the fit whose weights the training started from.

    Returns:
        The row, None if the paper does not report such a run.
    """
    if not {trained.corpus, tested_on} <= CORPORA.keys():
        return None
    editions = paper.editions.get(tested_on, EDITIONS[tested_on])
    if edition is not None and edition not in editions:
        return None
    if start is None and trained.settings.get(_INIT_FROM) is not None:
        return None
    differences = differing_settings(paper, trained)
    for row in paper.published:
        is_of_corpora = (row.corpus, row.trained_on or row.corpus) == (tested_on, trained.corpus)
        if is_of_corpora and not differences and _has_start(paper, row, trained, start):
            return row
    full = paper.full_row(tested_on)
    is_own_corpus = trained.corpus == tested_on
    if full is None or not is_own_corpus or not _has_start(paper, full, trained, start):
        return None
    return _find_ablation(paper, tested_on, differences)


def differing_settings(paper: Paper, configuration: Configuration) -> dict[str, object]:
    """Return the settings in which a configuration is not the paper's method.

    Args:
        paper: Paper of the method.
        configuration: The configuration, whose corpus is one of `CORPORA`.
    """
    corpus = configuration.corpus
    choices = {**DATA_CHOICES, **paper.choices, **paper.corpus_choices.get(corpus, {})}
    differences = {}
    for name, value in {**configuration.defaults, **configuration.settings}.items():
        is_of_other_task = TASK_SETTINGS.get(name, CORPORA[corpus]) != CORPORA[corpus]
        if name in _NOT_COMPARED or name in paper.unused or is_of_other_task:
            continue
        if name in choices:
            accepted = choices[name]
        elif name in configuration.defaults:
            accepted = (configuration.defaults[name],)
        elif name.startswith("model."):
            accepted = ()
        else:
            continue
        if not any(_is_same(name, value, choice) for choice in accepted):
            differences[name] = value
    return differences


def _find_ablation(
    paper: Paper, corpus: str, differences: Mapping[str, object]
) -> Published | None:
    """Find the row of an ablation table by its differences from the full method."""
    for ablation in paper.ablations:
        for settings in (ablation.settings, *ablation.readings):
            if corpus in ablation.scores and _are_same(settings, differences):
                return Published(corpus, ablation.scores[corpus], ablation=ablation.name)
    return None


def _has_start(
    paper: Paper, row: Published, trained: Configuration, start: Configuration | None
) -> bool:
    """Tell whether a training started from the weights that a row started from.

    A pretraining must have the switches of the run that starts from it, or none.
    """
    if row.started_from is not None:
        expected = (trained.method, row.started_from)
    elif row.pretraining is not None:
        expected = (row.pretraining, trained.corpus)
    else:
        return start is None
    if start is None or (start.method, start.corpus) != expected:
        return False
    if start.settings.get(_INIT_FROM) is not None:
        return False
    differences = differing_settings(paper, start)
    return not differences or _are_same(differences, differing_settings(paper, trained))


def _are_same(settings: Settings, others: Settings) -> bool:
    """Tell whether two groups of settings have the same names and values."""
    if settings.keys() != others.keys():
        return False
    return all(_is_same(name, others[name], value) for name, value in settings.items())


def _is_same(name: str, value: object, choice: object) -> bool:
    """Tell whether a value is an accepted one.

    Lists are sets here. A folder counts as the network that it is named after. A name without a tag
    admits all of timm's weights of an architecture.
    """
    if isinstance(value, list | tuple) and isinstance(choice, list | tuple):
        return sorted(map(str, value)) == sorted(map(str, choice))
    if name in _NETWORKS and isinstance(value, str) and isinstance(choice, str):
        network, accepted = PurePath(value).name, PurePath(choice).name
        return accepted in (network, network.partition(".")[0])
    return value == choice
