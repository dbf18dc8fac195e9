"""The checkpoint of commands that explain or export one: a run folder, or the file itself."""

from jsonargparse import Namespace

from mmie.cli.parsing import OneLineParser
from mmie.cli.usage import UsageError

NO_RUN = "name a run folder, such as runs/x, or a checkpoint with --checkpoint"


def add_checkpoint_options(parser: OneLineParser) -> None:
    """Add the argument of a run folder, and the option of a checkpoint in place of its best one."""
    parser.add_argument(
        "run",
        type=str | None,
        nargs="?",
        default=None,
        help="Run folder, whose best checkpoint is meant, or a checkpoint.",
    )
    parser.add_argument(
        "--checkpoint", type=str | None, default=None, help="A checkpoint in place of the best one."
    )


def chosen_checkpoint(settings: Namespace) -> str:
    """Return the checkpoint of `add_checkpoint_options`.

    Raises:
        UsageError: Neither a run folder nor a checkpoint is named.
    """
    checkpoint: str | None = settings.checkpoint or settings.run
    if checkpoint is None:
        raise UsageError(NO_RUN)
    return checkpoint
