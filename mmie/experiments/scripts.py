"""Scripts that run the jobs of a sweep on a SLURM cluster or as a W&B sweep."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import yaml
from jsonargparse import Namespace

from mmie.experiments.sweep import SweepJob
from mmie.utils.files import atomic_write_text


def sweep_options(settings: Namespace, jobs: Sequence[SweepJob]) -> list[str]:
    """Return the options with which a task on a cluster plans the same sweep.

    Args:
        settings: Options of ``mmie sweep``.
        jobs: The jobs, whose files replace globs that may match more files later.
    """
    configs = dict.fromkeys("+".join(map(str, job.configs)) for job in jobs)
    options = [*configs, f"--seeds={settings.seeds}"]
    options += [f"--set={setting}" for setting in settings.set]
    options.append(f"--out={settings.out}")
    if settings.test_pictures:
        options.append("--test-pictures")
    return options


def write_scripts(
    command: Sequence[str],
    num_jobs: int,
    max_parallel: int,
    out: Path,
    slurm: Path | None,
    wandb: Path | None,
) -> str:
    """Write a SLURM script, a W&B sweep file, or both.

    Args:
        command: Command of the sweep, to which the number of a job is added.
        num_jobs: Number of jobs.
        max_parallel: Largest number of jobs that run at the same time on the cluster.
        out: Folder of the run folders. It is made now, since SLURM drops the output of tasks whose
            folder does not exist.
        slurm: Path of the SLURM script.
        wandb: Path of the W&B sweep file.

    Returns:
        The lines that start the scripts.
    """
    out.mkdir(parents=True, exist_ok=True)
    start_lines = []
    if slurm is not None:
        atomic_write_text(slurm, slurm_script(command, num_jobs, max_parallel, out))
        start_lines.append(f"sbatch {slurm}")
    if wandb is not None:
        atomic_write_text(wandb, wandb_sweep(command, num_jobs))
        start_lines.append(f"wandb sweep {wandb}")
    return "\n".join(start_lines)


def slurm_script(command: Sequence[str], num_jobs: int, max_parallel: int, out: Path) -> str:
    """Return a SLURM array script with one task for every job of a sweep.

    Args:
        command: Command of the sweep, to which the number of a job is added.
        num_jobs: Number of jobs.
        max_parallel: Largest number of tasks that run at the same time; 1, the default of the
            command, leaves that to SLURM.
        out: Folder of the run folders, which receives the tasks' output as well.
    """
    limit = f"%{max_parallel}" if max_parallel > 1 else ""
    lines = [
        "#!/bin/bash",
        "#SBATCH --job-name=mmie-sweep",
        f"#SBATCH --array=0-{num_jobs - 1}{limit}",
        f"#SBATCH --output={shlex.quote(f'{out}/slurm-%A_%a.log')}",
        "",
        f"cd {shlex.quote(os.getcwd())}",
        f'exec {shlex.join(command)} --only="$SLURM_ARRAY_TASK_ID"',
    ]
    return "\n".join(lines) + "\n"


def wandb_sweep(command: Sequence[str], num_jobs: int) -> str:
    """Return a W&B sweep file: a grid over the numbers of a sweep's jobs.

    ``wandb sweep FILE`` registers it, ``wandb agent ID`` runs it.
    """
    sweep = {
        "program": "mmie",  # W&B requires it; the command below does not use it
        "method": "grid",
        "metric": {"name": "val/f1", "goal": "maximize"},
        "parameters": {"only": {"values": list(range(num_jobs))}},
        "command": ["${env}", *command, "${args}"],
    }
    return yaml.safe_dump(sweep, sort_keys=False)
