"""Many runs from a few lines: which they are, and as scripts for a cluster or W&B. `sweep_runner` runs them here.

A sweep is the product of configurations, settings and seeds. Its jobs have fixed numbers and folders, so that any
process can run any of them, and what is finished is known by its folder.
"""

import glob
import itertools
import os
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from jsonargparse import Namespace

from mmie.types import MmieError

FIRST_SEED = 1234
_TOP_LEVEL = re.compile(r"(?:\[[^\]]*\]|\{[^}]*\}|[^,\[\]{}])+")
"""What stands between commas that are not within brackets."""


class SweepError(MmieError, ValueError):
    """A sweep that cannot be, or one with runs that failed."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a sweep.

    Attributes:
        folder: Its run folder.
        configs: Configuration files, later ones over earlier ones.
        settings: What the line sets over them, by dotted name.
        seed: Seed of everything random.
        after: Runs whose outcome it needs; it begins when they are fitted and tested.
        fits: Whether it fits; if not, it tests the checkpoint of the first of ``after`` on the corpus of the last.
    """

    folder: Path
    configs: tuple[Path, ...]
    settings: tuple[tuple[str, str], ...]
    seed: int
    after: tuple["Job", ...] = ()
    fits: bool = True

    @property
    def fit_options(self) -> list[str]:
        """Options of ``mmie fit``."""
        return [
            *(f"--config={config}" for config in self.configs),
            *(f"--{key}={value}" for key, value in self.settings),
            f"--seed_everything={self.seed}",
            f"--run_dir={self.folder}",
        ]


def plan(configs: Sequence[str], settings: Sequence[str], seeds: str, out: Path) -> list[Job]:
    """All runs of a sweep, in a fixed order.

    Args:
        configs: Configuration files or globs of them; ``a.yaml+b.yaml`` lays the second over the first.
        settings: ``key=value``, or ``key=one,another`` for a run with each.
        seeds: How many seeds, or the seeds separated by commas.
        out: Folder of the run folders.

    Raises:
        SweepError: A file does not exist, two runs would share a folder, or a setting or the seeds make no sense.
    """
    choices = [_choices(setting) for setting in settings]
    jobs = [
        Job(out / _name(files, chosen, choices, seed), files, tuple(chosen), seed)
        for files in itertools.chain.from_iterable(map(_config_files, configs))
        for chosen in itertools.product(*choices)
        for seed in parse_seeds(seeds)
    ]
    twice = [folder for folder, count in Counter(job.folder for job in jobs).items() if count > 1]
    if twice:
        raise SweepError(
            f"two runs would share {twice[0]}: give configurations other names, and no value twice"
        )
    return jobs


def parse_seeds(text: str) -> list[int]:
    """Seeds: a count of them, from 1234 on, or the seeds themselves, separated by commas.

    Raises:
        SweepError: The text is neither, or a seed stands twice.

    >>> parse_seeds("3"), parse_seeds("7,42"), parse_seeds("7,")
    ([1234, 1235, 1236], [7, 42], [7])
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if (
        not parts
        or not all(part.isdecimal() for part in parts)
        or len(set(parts)) != len(parts)
        or parts == ["0"]
    ):
        raise SweepError(
            f"seeds is '{text}': expected a count such as 5, or different seeds such as 7,42"
        )
    numbers = [int(part) for part in parts]
    return numbers if "," in text else [FIRST_SEED + place for place in range(numbers[0])]


def split_values(text: str) -> list[str]:
    """Values separated by commas; lists and dictionaries in brackets stay whole.

    >>> split_values("ner,re"), split_values("[rau,cfu],[fsru]")
    (['ner', 're'], ['[rau,cfu]', '[fsru]'])
    """
    return [value.strip() for value in _TOP_LEVEL.findall(text) if value.strip()]


def sweep_options(settings: Namespace, jobs: Sequence[Job]) -> list[str]:
    """The line of a sweep as a cluster's task repeats it: what makes its list of runs, and how each is tested.

    Args:
        settings: Options of ``mmie sweep``.
        jobs: Its runs; their files stand in place of globs, which may stand for more by then.
    """
    return [
        *dict.fromkeys("+".join(map(str, job.configs)) for job in jobs),
        f"--seeds={settings.seeds}",
        *(f"--set={setting}" for setting in settings.set),
        f"--out={settings.out}",
        *(["--test-pictures"] if settings.test_pictures else []),
    ]


def write_scripts(
    command: Sequence[str],
    jobs: int,
    at_once: int,
    out: Path,
    slurm: Path | None,
    wandb: Path | None,
) -> str:
    """Write the list of runs for a cluster, for W&B, or for both; gives the lines that start them.

    Args:
        command: The sweep's command, to which the number of a run is added.
        jobs: Number of runs.
        at_once: Runs that may run at once on the cluster.
        out: Folder of the run folders; made now, for SLURM drops the output of tasks whose folder is not there.
        slurm: Where the SLURM script goes.
        wandb: Where the W&B sweep file goes.
    """
    out.mkdir(parents=True, exist_ok=True)
    starts = []
    if slurm is not None:
        slurm.write_text(slurm_script(command, jobs, at_once, out), encoding="utf-8")
        starts.append(f"sbatch {slurm}")
    if wandb is not None:
        wandb.write_text(wandb_sweep(command, jobs), encoding="utf-8")
        starts.append(f"wandb sweep {wandb}")
    return "\n".join(starts)


def slurm_script(command: Sequence[str], jobs: int, at_once: int, out: Path) -> str:
    """A SLURM array script with a task for every run of a sweep.

    Args:
        command: The sweep's command, to which the number of a run is added.
        jobs: Number of runs.
        at_once: Tasks that may run at once; 1, where nothing was asked for, leaves that to SLURM.
        out: Folder of the run folders, where the tasks' output goes as well.
    """
    lines = [
        "#!/bin/bash",
        "#SBATCH --job-name=mmie-sweep",
        f"#SBATCH --array=0-{jobs - 1}" + (f"%{at_once}" if at_once > 1 else ""),
        f"#SBATCH --output={shlex.quote(f'{out}/slurm-%A_%a.log')}",
        "",
        f"cd {shlex.quote(os.getcwd())}",
        f'exec {shlex.join(command)} --only="$SLURM_ARRAY_TASK_ID"',
    ]
    return "\n".join(lines) + "\n"


def wandb_sweep(command: Sequence[str], jobs: int) -> str:
    """A W&B sweep file, a grid over the numbers of a sweep's runs: ``wandb sweep FILE``, then ``wandb agent ID``."""
    sweep = {
        "program": "mmie",  # asked for by W&B, not used by the command below
        "method": "grid",
        "metric": {"name": "val/f1", "goal": "maximize"},
        "parameters": {"only": {"values": list(range(jobs))}},
        "command": ["${env}", *command, "${args}"],
    }
    return yaml.safe_dump(sweep, sort_keys=False)


def _choices(setting: str) -> list[tuple[str, str]]:
    """The key with each of its values."""
    key, equals, text = setting.partition("=")
    key, values = key.strip().removeprefix("--"), split_values(text)
    if not equals or not key or not values:
        raise SweepError(f"set is '{setting}': expected key=value or key=value,value")
    if key in ("run_dir", "seed_everything", "ckpt_path", "config"):
        raise SweepError(
            f"set is '{setting}': a sweep sets {key} itself, see --out, --seeds and CONFIG"
        )
    return [(key, value) for value in values]


def _config_files(text: str) -> list[tuple[Path, ...]]:
    """The files of ``a.yaml+b.yaml``, once for each way to fill in its globs."""
    parts = [[Path(name) for name in sorted(glob.glob(part)) or [part]] for part in text.split("+")]
    for file in itertools.chain.from_iterable(parts):
        if not file.is_file():
            raise SweepError(f"{file}: expected a configuration file, found none")
    return list(itertools.product(*parts))


def _name(
    files: Sequence[Path],
    chosen: Sequence[tuple[str, str]],
    choices: Sequence[Sequence[object]],
    seed: int,
) -> str:
    """Folder of a run below the sweep's: its configuration, the settings that vary, its seed."""
    varied = [
        f"{key}={value}"
        for (key, value), among in zip(chosen, choices, strict=True)
        if len(among) > 1
    ]
    stem = "+".join(file.stem for file in files)
    parts = [stem, *(re.sub(r"[^\w.=+-]+", "_", setting) for setting in varied), f"seed_{seed}"]
    return "/".join(parts)
