"""Plans of studies that vary one configuration: ablations, pretraining, one number, and crops.

The first variation of a study is the configuration itself, with which the others are compared.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from mmie.experiments.sweep import Setting, SweepError, SweepJob, plan_sweep, split_setting
from mmie.methods.papers import CORPORA, Paper, Settings
from mmie.runs.folder import BEST
from mmie.utils.configurations import find_configuration
from mmie.utils.files import read_yaml

FULL = "full"
"""Folder of the runs of the configuration itself."""
SWEPT_VALUES = {
    "num_fusion_layers": "2,3,4,5,6",
    "path_weight": "0,0.5,1,1.5,2,2.5,3",
    "prompt_length": "4,8,16,32",
    "num_objects": "0,1,2,3",
}
"""Values of a sweep by the name of what is swept. The first two lines are RAP's Tables 4 and 6."""
_NUM_OBJECTS = "data.num_objects"
_CORPUS_ROOT = "data.corpus.init_args.root"
_INIT_FROM = "model.init_args.init_from"


@dataclass(frozen=True, slots=True)
class Variation:
    """Configuration with some settings changed.

    Attributes:
        name: Name of its folder.
        label: Description in the report.
        settings: Settings that override the configuration, by the names of the command line.
        value: Number that a sweep varies.
        is_pretrained: Whether it starts from the weights of the pretraining.
    """

    name: str
    label: str
    settings: tuple[Setting, ...] = ()
    value: float | None = None
    is_pretrained: bool = False


@dataclass(frozen=True, slots=True)
class BaseConfiguration:
    """Configuration that a study varies.

    Attributes:
        class_path: Class of the method.
        corpus: Class name of the corpus.
        task: ``ner`` or ``re``.
        model: Constructor arguments that the configuration gives.
        data: Settings of the data that it gives.
    """

    class_path: str
    corpus: str
    task: str
    model: Mapping[str, Any]
    data: Mapping[str, Any]


def read_base(config: str, out: Path) -> BaseConfiguration:
    """Read the configuration that a study varies.

    Args:
        config: A configuration; in ``a.yaml+b.yaml`` the second file overrides the first.
        out: Folder of the study.

    Raises:
        SweepError: A file is missing or not YAML, or names no method, corpus or task, or the name
            stands for several configurations.
    """
    jobs = plan_sweep([config], [], "1", out)
    if len(jobs) > 1:
        raise SweepError(f"{config} stands for {len(jobs)} configurations: name one")
    merged: dict[str, Any] = {}
    for file in jobs[0].configs:
        try:
            _merge(merged, read_yaml(file) or {})
        except (yaml.YAMLError, AttributeError) as error:
            message = " ".join(str(error).split())
            raise SweepError(f"{file}: expected settings in YAML, {message}") from error
    try:
        model, data = merged["model"], merged["data"]
        corpus = str(data["corpus"]["class_path"]).rpartition(".")[2]
        arguments = model.get("init_args") or {}
        return BaseConfiguration(model["class_path"], corpus, data["task"], arguments, data)
    except (KeyError, TypeError, AttributeError) as error:
        raise SweepError(
            f"{config}: expected model.class_path, data.corpus.class_path and data.task"
        ) from error


def vary_ablations(
    base: BaseConfiguration, paper: Paper, is_pretrained: bool = False
) -> list[Variation]:
    """List the rows of the paper's ablation tables for the task of a configuration.

    Tables over the values of one number are left to `vary_number`.

    Args:
        base: The configuration.
        paper: Paper of its method.
        is_pretrained: Whether all runs start from the weights of the pretraining.

    Raises:
        SweepError: The paper has no such row.
    """
    variations = [Variation(FULL, "full method", is_pretrained=is_pretrained)]
    for row in paper.ablations:
        tasks = {CORPORA[corpus] for corpus in row.scores}
        is_of_other_task = bool(tasks) and base.task in paper.tasks and base.task not in tasks
        if not row.varies and not is_of_other_task:
            settings = _to_options(row.settings)
            name, label = _slug(row.name), f"{row.name} ({row.table})"
            variations.append(Variation(name, label, settings, is_pretrained=is_pretrained))
    if len(variations) == 1:
        raise SweepError(f"the paper of {base.class_path} has no ablations for task {base.task}")
    return variations


def vary_pretraining(
    base: BaseConfiguration, defaults: Mapping[str, object], has_pretraining: bool
) -> list[Variation]:
    """List a configuration with and without pretrained weights.

    Random vision weights are compared without the method's own pretraining, whose checkpoint holds
    the vision weights as well.

    Args:
        base: The configuration.
        defaults: Defaults of the constructor of its method.
        has_pretraining: Whether there is a pretraining to start from.

    Raises:
        SweepError: The configuration has nothing that could be pretrained.
    """
    variations = [Variation(FULL, "pretrained", is_pretrained=has_pretraining)]
    if has_pretraining:
        variations.append(Variation("wo_pretraining", "without the method's pretraining"))
    prefix = "without the method's pretraining, " if has_pretraining else ""
    if base.model.get("pretrained", True):
        for name, value in (("pretrained_vision", "false"), ("patch_embedding", "null")):
            if name in defaults:
                settings = ((f"model.init_args.{name}", value),)
                label = f"{prefix}random vision weights"
                variations.append(Variation("random_vision", label, settings))
    if len(variations) == 1:
        raise SweepError(
            f"{base.class_path} has no vision weights to start without: it reads no pictures, or "
            "the configuration has pretrained: false"
        )
    return variations


def vary_number(
    base: BaseConfiguration, defaults: Mapping[str, object], name: str, values: str | None = None
) -> list[Variation]:
    """List a configuration with several values of one number, its own value first.

    Args:
        base: The configuration.
        defaults: Defaults of the constructor of its method.
        name: ``num_objects``, or a constructor argument.
        values: Values separated by commas; None takes those of `SWEPT_VALUES`.

    Raises:
        SweepError: The method has no such argument, there are no values, or one is no number.
    """
    if name == "num_objects":
        key, own = _NUM_OBJECTS, base.data.get(name, 3)
    elif name in defaults:
        key, own = f"model.init_args.{name}", base.model.get(name, defaults[name])
    else:
        raise SweepError(f"vary is '{name}': {base.class_path} has no such argument")
    text = SWEPT_VALUES.get(name) if values is None else values
    if not text:
        raise SweepError(f"values: expected numbers separated by commas for {name}")
    try:
        numbers = dict.fromkeys(float(part) for part in (str(own), *text.split(",")))
    except ValueError as error:
        raise SweepError(f"values is '{text}' and {name} {own}: expected numbers") from error
    variations = []
    for number in numbers:
        label = f"{name} = {number:g}"
        folder = f"{name}_{number:g}"
        variations.append(Variation(folder, label, ((key, f"{number:g}"),), number))
    return variations


def vary_crops(
    base: BaseConfiguration, paper: Paper | None, detectors: Sequence[str]
) -> list[Variation]:
    """List a configuration with fewer crops, without any, and with crops of other detectors.

    Args:
        base: The configuration.
        paper: Paper of its method.
        detectors: ``NAME=ROOT`` for each further detector: a root of the corpus whose index holds
            its crops, such as ``mmie ground --detector NAME`` writes.

    Raises:
        SweepError: The method reads no crops, or a detector is not ``NAME=ROOT``.
    """
    own = int(base.data.get("num_objects", 3))
    is_unused = paper is not None and _NUM_OBJECTS in paper.unused
    if is_unused or own == 0:
        raise SweepError(f"{base.class_path} reads no crops with this configuration")
    variations = [Variation(FULL, _crop_label(own))]
    for count in range(own - 1, -1, -1):
        setting = (_NUM_OBJECTS, str(count))
        variations.append(Variation(f"crops_{count}", _crop_label(count), (setting,)))
    for detector in detectors:
        name, _, root = detector.partition("=")
        if not name or not root:
            raise SweepError(f"detector is '{detector}': expected NAME=ROOT")
        label = f"{_crop_label(own)} of {name}"
        variations.append(Variation(f"detector_{_slug(name)}", label, ((_CORPUS_ROOT, root),)))
    return variations


def plan_variations(
    config: str,
    variations: Sequence[Variation],
    settings: Sequence[str],
    seeds: str,
    out: Path,
    pretraining: Path | None = None,
) -> list[SweepJob]:
    """Plan the runs of all variations, and those of the pretraining that some start from.

    Args:
        config: The configuration.
        variations: Its variations.
        settings: ``key=value`` for all runs.
        seeds: See `mmie.experiments.sweep.plan_sweep`.
        out: Folder of the run folders.
        pretraining: Configuration of the pretraining. A run starts from that of its seed.

    Raises:
        SweepError: The sweep is not valid, or a setting is one that the study sets itself.
    """
    own_keys = {_INIT_FROM, "model.init_from"}
    for variation in variations:
        for key, _ in variation.settings:
            own_keys.update((key, key.replace("init_args.", "")))
    for setting in settings:
        if split_setting(setting)[0] in own_keys:
            raise SweepError(f"set is '{setting}': the study sets this itself")
    starts: dict[int, SweepJob] = {}
    if pretraining is not None:
        for job in plan_sweep([str(pretraining)], settings, seeds, out):
            starts[job.seed] = replace(job, tests=False)
    jobs = list(starts.values())
    for variation in variations:
        for job in plan_sweep([config], settings, seeds, out):
            folder = job.folder.parent / variation.name / job.folder.name
            job_settings = (*job.settings, *variation.settings)
            after: tuple[SweepJob, ...] = ()
            if variation.is_pretrained and job.seed in starts:
                start = starts[job.seed]
                job_settings = (*job_settings, (_INIT_FROM, str(start.folder / BEST)))
                after = (start,)
            jobs.append(
                replace(
                    job,
                    folder=folder,
                    settings=job_settings,
                    after=after,
                    label=variation.label,
                    value=variation.value,
                )
            )
    return jobs


def find_pretraining(config: str, base: BaseConfiguration, paper: Paper | None) -> Path | None:
    """Return the configuration of the pretraining that a method's paper starts from.

    It lies beside the method's own configuration: ``mlnet_pretrain_twitter2015.yaml`` beside
    ``mlnet_twitter2015.yaml``. None if the paper has no pretraining, or there is no such file.
    """
    rows = () if paper is None else paper.published
    if not any(row.pretraining for row in rows):
        return None
    method = base.class_path.rpartition(".")[2].lower()
    file = find_configuration(config.split("+")[0])
    candidate = file.with_name(file.name.replace(method, f"{method}_pretrain", 1))
    return candidate if candidate != file and candidate.is_file() else None


def _crop_label(count: int) -> str:
    """Describe a number of crops."""
    if count == 0:
        return "no crops"
    return "1 crop" if count == 1 else f"{count} crops"


def _to_options(settings: Settings) -> tuple[Setting, ...]:
    """Return settings of a published row as options of the command line."""
    options = []
    for name, value in settings.items():
        key = name.replace("model.", "model.init_args.", 1)
        text = value if isinstance(value, str) else json.dumps(value)
        options.append((key, text))
    return tuple(options)


def _slug(name: str) -> str:
    """Return a name as that of a folder."""
    return re.sub(r"[^\w.]+", "_", name).strip("_.").lower()


def _merge(target: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Lay a configuration over another one."""
    for name, value in changes.items():
        if isinstance(value, dict) and isinstance(target.get(name), dict):
            _merge(target[name], value)
        else:
            target[name] = value
