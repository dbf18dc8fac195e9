"""Plan of a sweep: the product of configurations, settings and seeds.

The jobs of a sweep have fixed numbers and folders, so that any process can run any of them, and a
finished job is recognised by its folder. `mmie.experiments.sweep_runner` runs them on this machine,
`mmie.experiments.scripts` writes scripts for a cluster or W&B.
"""

import fnmatch
import glob
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmie.types import MmieError
from mmie.utils.configurations import (
    ConfigurationNotFound,
    configuration_names,
    find_configuration,
)

FIRST_SEED = 1234
MOST_SEEDS = 100
"""Largest number of seeds. A larger one is taken for a seed by mistake."""
OWN_SETTINGS = ("run_dir", "seed_everything", "ckpt_path", "config")
"""Settings of a run that a sweep sets itself."""
_TOP_LEVEL_VALUE = re.compile(r"(?:\[[^\]]*\]|\{[^}]*\}|[^,\[\]{}])+")
"""Text between commas that are outside of brackets."""

Setting = tuple[str, str]
"""Dotted name and value."""


class SweepError(MmieError, ValueError):
    """A sweep that is not valid, or one with failed runs."""


@dataclass(frozen=True, slots=True)
class SweepJob:
    """One run of a sweep.

    Attributes:
        folder: Its run folder.
        configs: Configuration files, of which later ones override earlier ones.
        settings: Settings that override the configurations.
        seed: Seed of everything random.
        after: Jobs whose result it needs; it starts when they are fitted and tested.
        fits: Whether it fits; if not, it tests the checkpoint of the first of ``after`` on the
            corpus of the last.
        tests: Whether it is tested. A pretraining predicts nothing.
        label: Value of what a study varies, in words.
        value: The same as a number, if it is one.
    """

    folder: Path
    configs: tuple[Path, ...]
    settings: tuple[Setting, ...]
    seed: int
    after: tuple["SweepJob", ...] = ()
    fits: bool = True
    tests: bool = True
    label: str = ""
    value: float | None = None

    @property
    def fit_options(self) -> list[str]:
        """Options of ``mmie fit``."""
        return [
            *(f"--config={config}" for config in self.configs),
            *(f"--{key}={value}" for key, value in self.settings),
            f"--seed_everything={self.seed}",
            f"--run_dir={self.folder}",
        ]


def plan_sweep(
    configs: Sequence[str], settings: Sequence[str], seeds: str, out: Path
) -> list[SweepJob]:
    """List all jobs of a sweep in a fixed order.

    Args:
        configs: Configuration files, names of the package's configurations, or globs of either;
            in ``a.yaml+b.yaml`` the second overrides the first.
        settings: ``key=value``, or ``key=one,another`` for a run with each value.
        seeds: Number of seeds, or the seeds separated by commas.
        out: Folder of the run folders.

    Raises:
        SweepError: A file does not exist, two runs would share a folder, or a setting or the seeds
            are not valid.
    """
    choices = [_parse_setting(setting) for setting in settings]
    file_groups: list[tuple[Path, ...]] = []
    for config in configs:
        file_groups += _expand_config(config)
    jobs = []
    for files, values, seed in itertools.product(
        file_groups, itertools.product(*choices), parse_seeds(seeds)
    ):
        folder = out / _folder_name(files, values, choices, seed)
        jobs.append(SweepJob(folder, files, values, seed))
    counts = Counter(job.folder for job in jobs)
    shared_folders = [folder for folder, count in counts.items() if count > 1]
    if shared_folders:
        raise SweepError(
            f"two runs would share {shared_folders[0]}: "
            "give configurations other names, and no value twice"
        )
    return jobs


def parse_seeds(text: str) -> list[int]:
    """Parse a number of seeds, counted from 1234, or the seeds separated by commas.

    Raises:
        SweepError: The text is neither, a seed occurs twice, or the number is above `MOST_SEEDS`.

    >>> parse_seeds("3"), parse_seeds("7,42"), parse_seeds("7,")
    ([1234, 1235, 1236], [7, 42], [7])
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    are_numbers = bool(parts) and all(part.isdecimal() for part in parts)
    if not are_numbers or len(set(parts)) != len(parts) or parts == ["0"]:
        raise SweepError(
            f"seeds is '{text}': expected a count such as 5, or different seeds such as 7,42"
        )
    numbers = [int(part) for part in parts]
    if "," in text:
        return numbers
    if numbers[0] > MOST_SEEDS:
        raise SweepError(
            f"seeds is '{text}': expected a count of at most {MOST_SEEDS}, or '{text},' for "
            "one seed"
        )
    return list(range(FIRST_SEED, FIRST_SEED + numbers[0]))


def split_values(text: str) -> list[str]:
    """Split values at commas that are outside of brackets.

    >>> split_values("ner,re"), split_values("[rau,cfu],[fsru]")
    (['ner', 're'], ['[rau,cfu]', '[fsru]'])
    """
    return [value.strip() for value in _TOP_LEVEL_VALUE.findall(text) if value.strip()]


def split_setting(setting: str) -> tuple[str, str]:
    """Split ``key=value`` or ``--key=value``.

    >>> split_setting("--data.task=ner,re")
    ('data.task', 'ner,re')
    """
    key, _, text = setting.partition("=")
    return key.strip().removeprefix("--"), text


def _parse_setting(setting: str) -> list[Setting]:
    """Return the key of a setting with each of its values.

    Raises:
        SweepError: The setting is not ``key=value``, or its key is one that a sweep sets itself.
    """
    key, text = split_setting(setting)
    values = split_values(text)
    if not key or not values:
        raise SweepError(f"set is '{setting}': expected key=value or key=value,value")
    if key in OWN_SETTINGS:
        raise SweepError(
            f"set is '{setting}': a sweep sets {key} itself, see --out, --seeds and CONFIG"
        )
    return [(key, value) for value in values]


def _expand_config(text: str) -> list[tuple[Path, ...]]:
    """Expand the globs of ``a.yaml+b.yaml`` to all groups of files.

    Raises:
        SweepError: A file does not exist.
    """
    parts = []
    for pattern in text.split("+"):
        matches = [Path(name) for name in sorted(glob.glob(pattern))]
        files = matches or _match_names(pattern)
        for file in files:
            if not file.is_file():
                raise SweepError(f"{file}: expected a configuration file, found none")
        parts.append(files)
    return list(itertools.product(*parts))


def _match_names(pattern: str) -> list[Path]:
    """Return the package's configurations whose names match a pattern.

    Raises:
        SweepError: No configuration has such a name.
    """
    names = fnmatch.filter(configuration_names(), pattern)
    try:
        return [find_configuration(name) for name in names or [pattern]]
    except ConfigurationNotFound as error:
        raise SweepError(str(error)) from error


def _folder_name(
    files: Sequence[Path], values: Sequence[Setting], choices: Sequence[list[Setting]], seed: int
) -> str:
    """Name the folder of a run by its configuration, the settings that vary, and its seed."""
    parts = ["+".join(file.stem for file in files)]
    for (key, value), alternatives in zip(values, choices, strict=True):
        if len(alternatives) > 1:
            parts.append(re.sub(r"[^\w.=+-]+", "_", f"{key}={value}"))
    parts.append(f"seed_{seed}")
    return "/".join(parts)
