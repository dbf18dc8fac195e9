"""Forms of scores, epochs and times in everything that people read.

Files keep other forms: ``metrics.json`` and ``metrics.csv`` hold scores as fractions and count
epochs from 0, as Lightning does.
"""


def format_score(value: float, digits: int = 2) -> str:
    """Format a score from 0 to 1 in percent.

    >>> format_score(0.96456)
    '96.46'
    """
    return f"{100 * value:.{digits}f}"


def format_measure(name: str, value: float) -> str:
    """Format a logged value: a loss with four decimals, and any other as a score.

    Args:
        name: Logged name, such as ``train/loss_step`` or ``val/f1``.
        value: Its value.

    >>> format_measure("val/loss", 0.25), format_measure("val/f1", 0.25)
    ('0.2500', '25.00')
    """
    return f"{value:.4f}" if is_loss(name) else format_score(value)


def is_loss(name: str) -> bool:
    """Tell whether a logged name is that of a loss.

    >>> is_loss("train/loss_step"), is_loss("val/path_loss"), is_loss("val/f1")
    (True, True, False)
    """
    return "loss" in name.rpartition("/")[2].split("_")


def name_measure(name: str) -> str:
    """Name a logged value in words.

    >>> name_measure("val/f1"), name_measure("train/loss_step"), name_measure("test/f1/PER")
    ('validation F1', 'training loss', 'test F1 PER')
    """
    stage, _, measure = name.partition("/")
    stages = {"val": "validation", "train": "training"}
    words = measure.removesuffix("_step").replace("f1", "F1").replace("/", " ").replace("_", " ")
    return f"{stages.get(stage, stage)} {words}"


def format_epoch(index: int, total: int | None = None) -> str:
    """Name an epoch by its number from 1.

    Args:
        index: Its number from 0, as Lightning counts.
        total: Number of epochs of the fit; None or -1 if another limit ends it.

    >>> format_epoch(2, 24), format_epoch(2, -1)
    ('epoch 3 of 24', 'epoch 3')
    """
    if total is None or total < 0:
        return f"epoch {index + 1}"
    return f"epoch {index + 1} of {total}"


def format_duration(seconds: float) -> str:
    """Format a duration: seconds below one minute, minutes below two hours, then hours.

    >>> format_duration(12.4), format_duration(84), format_duration(3 * 3600)
    ('12 s', '1.4 min', '3.0 h')
    """
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
