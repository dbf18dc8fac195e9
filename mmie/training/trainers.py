"""Questions that several callbacks ask a trainer."""

from lightning.pytorch import Trainer

from mmie.runs.picture_tests import RIGHT_PICTURES


def is_writer(trainer: Trainer) -> bool:
    """Tell whether this process writes files: the first one, outside a ``fast_dev_run``."""
    return trainer.is_global_zero and not trainer.fast_dev_run  # type: ignore[attr-defined]


def pictures_of(trainer: Trainer) -> str:
    """Return the pictures that the data module gives, the right ones if it has no such setting."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    return str(getattr(data, "pictures", RIGHT_PICTURES))


def logged_values(trainer: Trainer) -> dict[str, float]:
    """Return everything that has been logged, as floats."""
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def corpus_note(trainer: Trainer) -> str:
    """Return the note of the data module's corpus, empty if there is none."""
    corpus = getattr(trainer.datamodule, "corpus", None)  # type: ignore[attr-defined]
    return str(getattr(corpus, "note", ""))
