"""Facts of fits and tests that tell which of them belong together.

The section ``run`` of ``metrics.json`` is written when training starts. It has the package's
``version``, the SHA-256 of each split of the ``corpus``, and that of the pretrained ``encoders``
with their configuration. The section of a test has the package's ``version``, the SHA-256 of the
checkpoint and of the split, and the limit of the number of batches if there is one.

Both sections have the ``hardware`` in words and the ``commands`` that were given: one for a test,
and one for a fit and each of its continuations.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RUN = "run"
"""Section with the facts of the fit."""
VERSION_KEY, CORPUS_KEY, ENCODERS_KEY = "version", "corpus", "encoders"
"""Keys of the section `RUN`."""
HARDWARE_KEY, COMMANDS_KEY = "hardware", "commands"
"""Further keys of that section, and of the section of a test."""
CHECKPOINT_DIGEST, SPLIT_DIGEST, LIMIT = "checkpoint_sha256", "split_sha256", "limit_batches"
"""Keys of the section of a test, beside `VERSION_KEY`."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """How the fit and the tests of a run came about.

    Attributes:
        versions: Versions of the package.
        hardware: Devices, in words.
        commands: Command lines, in the order of fit, test and tests with other pictures.
    """

    versions: tuple[str, ...] = ()
    hardware: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


def read_circumstances(sections: Iterable[Mapping[str, Any]]) -> Circumstances:
    """Collect what sections of ``metrics.json`` record of their circumstances, each once.

    Args:
        sections: The section `RUN` and those of tests. Earlier versions recorded less.

    >>> read_circumstances([{"version": "0.2", "hardware": "a"}, {"version": "0.2"}])
    Circumstances(versions=('0.2',), hardware=('a',), commands=())
    """
    versions: list[object] = []
    hardware: list[object] = []
    commands: list[object] = []
    for section in sections:
        versions.append(section.get(VERSION_KEY))
        hardware.append(section.get(HARDWARE_KEY))
        commands += section.get(COMMANDS_KEY) or []
    return Circumstances(_strings(versions), _strings(hardware), _strings(commands))


def belong_together(test: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether the sections of two tests are of the same checkpoint and the same posts.

    Sections of versions before 0.2 do not say, and are taken to belong together.

    >>> belong_together({"split_sha256": "a"}, {"split_sha256": "b"}), belong_together({}, {})
    (False, True)
    """
    for name in (CHECKPOINT_DIGEST, SPLIT_DIGEST):
        if None not in (test.get(name), other.get(name)) and test[name] != other[name]:
            return False
    return True


def changed_splits(
    recorded: Mapping[str, str], current: Mapping[str, str], splits: Sequence[str]
) -> list[str]:
    """Return the splits whose digest is recorded and has changed.

    Args:
        recorded: SHA-256 of splits of the corpus at the time of the fit.
        current: SHA-256 of splits of the corpus today.
        splits: Splits to compare.
    """
    changed = []
    for split in splits:
        if recorded.get(split, current.get(split)) != current.get(split):
            changed.append(split)
    return changed


def _strings(values: Iterable[object]) -> tuple[str, ...]:
    """Return the values that are strings, each once and in their order."""
    return tuple(dict.fromkeys(value for value in values if isinstance(value, str)))
