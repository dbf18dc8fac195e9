"""``--threads``: the threads of commands that compute, set before torch is imported."""

from collections.abc import MutableMapping, Sequence

from mmie.cli.arguments import split_option
from mmie.cli.options import Option
from mmie.cli.usage import UsageError
from mmie.utils.processes import THREADS

FLAG = "--threads"
AUTO = "auto"
OPTION = Option(
    (FLAG,),
    default=AUTO,
    help="Threads that compute on the CPU: a number, or auto. auto is OMP_NUM_THREADS if it is "
    "set, otherwise one for methods of less than 10 million parameters and one per core for "
    "others.",
)
"""The option, for the table of options."""
SPIN_COUNT = "GOMP_SPINCOUNT"
"""Variable in which GNU OpenMP, which torch from PyPI uses, reads how long a thread spins."""
SPINS = "1000"
"""Turns that a thread waits for others before it sleeps.

By default it spins for milliseconds, also on the core that the thread it waits for needs.
"""
_WAITING = (SPIN_COUNT, "OMP_WAIT_POLICY")
"""Variables by which a user has decided how threads wait."""


def split_threads(arguments: Sequence[str]) -> tuple[int | None, list[str]]:
    """Separate ``--threads`` from the other arguments. The last one counts.

    Returns:
        The number of threads, None for ``auto``, and the other arguments.

    Raises:
        UsageError: The value is missing, or neither ``auto`` nor a positive whole number.

    >>> split_threads(["--config=x", "--threads", "2", "--trainer.max_epochs=1"])
    (2, ['--config=x', '--trainer.max_epochs=1'])
    """
    values, others = split_option(arguments, FLAG)
    threads: int | None = None
    for value in values:
        threads = _parse(value)
    return threads, others


def _parse(value: str) -> int | None:
    """Parse a value of ``--threads``.

    Raises:
        UsageError: The value is neither ``auto`` nor a positive whole number.
    """
    if value == AUTO:
        return None
    if value.isascii() and value.isdigit() and int(value) > 0:
        return int(value)
    got = f"got {value}" if value else "found no value"
    raise UsageError(f"{FLAG}: expected auto or a positive whole number, {got}")


def set_variables(environment: MutableMapping[str, str], threads: int | None) -> None:
    """Set what OpenMP reads when torch is imported, for this process and those that it starts.

    Args:
        environment: The environment, which is changed.
        threads: Number of threads; None leaves it to the size of the model, see
            `mmie.utils.processes.limit_threads`.
    """
    if threads is not None:
        environment[THREADS] = str(threads)
    if not any(environment.get(name) for name in _WAITING):
        environment[SPIN_COUNT] = SPINS
