"""Why a trained method answers as it does: its diagnostics of one post, or of a sample of a split."""

import difflib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from mmie.blocks.errors import WeightsUnavailable
from mmie.data import Corpus, MultimodalDataModule
from mmie.data.batching import Collator, Instance, mask_views, shuffle_pictures
from mmie.data.encoding import WordTokenizer
from mmie.data.pictures import audit_pictures
from mmie.files import read_yaml
from mmie.methods import ExtractionModule
from mmie.methods.checkpoints import load_method
from mmie.methods.transfer import read_checkpoint
from mmie.types import Answer, Batch, MmieError, Precomputed, Split

_STAGES: dict[Split, str] = {"train": "fit", "valid": "validate", "test": "test"}
_BATCH_SIZE = 16
_WORD_AXES = {"prefix_mass": 1, "prompt_mass": 1, "representation": 0, "unprompted": 0}
"""Axes that are padded to the batch's longest post, of what `ExtractionModule.diagnose` gives of a post."""
SIMILARITIES = {"learned_similarity": "learned", "clip_similarity": "CLIP"}
"""Numbers of pairs of a text and a picture of the batch."""
_FROM_CONFIG = ("use_context", "context_file", "pictures", "seed")


class DiagnosisError(MmieError, ValueError):
    """There is no such post, or nothing that says which corpus to look at."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a method makes of one instance, and why.

    Attributes:
        instance: The post, and the relation asked about.
        answer: The answer.
        values: What `ExtractionModule.diagnose` gives, without the axis of the batch and without padding, on the CPU.
        company: The instances of its batch, which similarities are told for.
    """

    instance: Instance
    answer: Answer
    values: dict[str, Tensor]
    company: tuple[Instance, ...]

    @property
    def gold(self) -> str:
        """The gold relation, or the type of the first gold entity; "" if there is none."""
        if self.instance.relation is not None:
            return self.instance.relation.label
        return self.instance.post.entities[0].type if self.instance.post.entities else ""


@dataclass(frozen=True, slots=True)
class Subject:
    """A trained method and the split that it is looked at on.

    Attributes:
        checkpoint: File of the method.
        module: The method.
        data: The corpus as the method reads it, the split set up.
        split: The split.
    """

    checkpoint: Path
    module: ExtractionModule
    data: MultimodalDataModule
    split: Split

    @property
    def instances(self) -> list[Instance]:
        """The instances of the split."""
        return self.data.instances[self.split]

    @property
    def units(self) -> list[str]:
        """Names of the units of a fusion layer, of a method that has them."""
        fusion: Any = self.module.fusion
        return [type(unit).__name__ for unit in fusion.layers[0]]


def read_data_settings(checkpoint: str | Path, config: str | Path | None = None) -> dict[str, Any]:
    """The ``data`` section of a configuration, by default of that of the run folder that holds the checkpoint.

    Raises:
        DiagnosisError: There is none.
    """
    path = Path(checkpoint).parent / "config.yaml" if config is None else Path(config)
    try:
        settings: dict[str, Any] = read_yaml(path)["data"]
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise DiagnosisError(f"{path}: expected a configuration with a data section: name one with --config") from error
    return settings


def load_subject(checkpoint: str | Path, corpus: Corpus, settings: dict[str, Any], split: Split = "test") -> Subject:
    """A checkpoint and a split, read as the checkpoint was taught to read.

    Args:
        checkpoint: File of the method.
        corpus: The corpus.
        settings: A ``data`` section; of it only contexts, pictures and seed count.
        split: The split.

    Raises:
        CheckpointError: See `mmie.methods.checkpoints.load_method`.
        CorpusError: The corpus has nothing for the method's task.
    """
    module = load_method(checkpoint)
    state, schema = read_checkpoint(checkpoint)["MultimodalDataModule"], module.schema
    data = MultimodalDataModule(
        corpus,
        schema.task,
        max_tokens=schema.max_tokens,
        num_objects=schema.num_objects,
        tag_scheme=schema.tag_scheme,
        labels=list(schema.labels),
        image_size=schema.image_size,
        **state["transform"],
        **{name: settings[name] for name in _FROM_CONFIG if name in settings},
    )
    data.tokenizer = WordTokenizer.from_files(state["tokenizer"], schema.max_tokens)
    data.setup(_STAGES[split])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Subject(Path(checkpoint), module.to(device), data, split)


def find_post(subject: Subject, post_id: str) -> list[Instance]:
    """The instances of a post.

    Raises:
        DiagnosisError: The split has no such post; the message names those of like names.
    """
    found = [instance for instance in subject.instances if instance.post.id == post_id]
    if not found:
        ids = list(dict.fromkeys(instance.post.id for instance in subject.instances))
        close = difflib.get_close_matches(post_id, ids, n=3, cutoff=0.5) or ids[:3]
        raise DiagnosisError(
            f"--post {post_id}: {subject.data.corpus.name} {subject.split} has no such post; it has {', '.join(close)}"
            f"{', ...' if len(ids) > len(close) else ''}"
        )
    return found


def diagnose_split(subject: Subject, count: int) -> tuple[list[Finding], list[Finding]]:
    """What the method makes of ``count`` instances of the split, drawn at random, and in their order.

    Returns:
        The findings; and, of a method that matches text and picture, those of the instances with others' pictures.
    """
    places = range(len(subject.instances))
    chosen = random.Random(subject.data.seed).sample(places, min(count, len(places)))
    instances = [subject.instances[place] for place in sorted(chosen)]
    findings = diagnose(subject, instances)
    is_matching = "match" in findings[0].values
    return findings, diagnose(subject, with_other_pictures(subject, instances)) if is_matching else []


def diagnose(subject: Subject, instances: Sequence[Instance]) -> list[Finding]:
    """What the method makes of instances, in their order."""
    specs = _precomputed(subject.module)
    findings: list[Finding] = []
    for start in range(0, len(instances), _BATCH_SIZE):
        chunk = instances[start : start + _BATCH_SIZE]
        batch = _batch(subject, chunk, specs)
        values = {name: rows.cpu() for name, rows in subject.module.diagnose(batch).items()}
        with torch.no_grad():
            answers = subject.module(batch)
        findings += _split(chunk, answers, values)
    return findings


def diagnose_post(subject: Subject, post_id: str) -> list[Finding]:
    """What the method makes of a post, in the company of other posts, whose pictures it can be compared with."""
    own = find_post(subject, post_id)
    others = [instance for instance in subject.instances if instance.post.id != post_id]
    company = others[: max(0, _BATCH_SIZE // 2 - len(own))]
    return diagnose(subject, [*own, *company])[: len(own)]


def with_other_pictures(subject: Subject, instances: Sequence[Instance]) -> list[Instance]:
    """The instances, each with the pictures of another post."""
    posts = list({instance.post.id: instance.post for instance in instances}.values())
    swapped = {post.id: post for post in shuffle_pictures(posts, subject.data.seed)}
    count = subject.module.schema.num_objects
    others = []
    for instance in instances:
        post = swapped[instance.post.id]
        crops = (*post.crops, *[None] * count)[:count]
        others.append(replace(instance, post=post, views=(post.image, *crops)))
    named = dict.fromkeys(path for instance in others for path in instance.views if path is not None)
    mask_views(others, audit_pictures(list(named), subject.data.max_pixels) if named else {})
    return others


def _precomputed(module: ExtractionModule) -> list[Precomputed]:
    """What is computed once for a batch; nothing of a model that is not to be had."""
    specs = module.precomputed()
    try:
        for spec in specs:
            if spec.source == "text":
                spec.compute([""])  # the model behind it is loaded by the first text
    except WeightsUnavailable as error:
        rank_zero_warn(f"left out: {error}")
        return [spec for spec in specs if not spec.required]
    return specs


def _batch(subject: Subject, instances: Sequence[Instance], specs: Sequence[Precomputed]) -> Batch:
    """A batch on the method's device, with pixels, and with what is computed of them once."""
    data = subject.data
    collator = Collator(subject.module.schema, data.tokenizer.pad_id, data.resize, data.max_pixels)
    batch = collator(instances, range(len(instances))).to(subject.module.device)
    features = {spec.name: rows for spec in specs if (rows := _compute(spec, batch, instances)) is not None}
    return replace(batch, features=features)


def _compute(spec: Precomputed, batch: Batch, instances: Sequence[Instance]) -> Tensor | None:
    """Rows of texts, of global pictures, (batch, width), or of views, (batch, views, width); None if there are none."""
    with torch.no_grad():
        if spec.source == "text":
            return spec.compute([" ".join(instance.post.words) for instance in instances])
        seen = batch.view_mask if spec.source == "views" else batch.view_mask[:, :1]  # (batch, views or 1)
        if batch.pixels is None or not seen.any():
            return None
        rows = spec.compute(batch.pixels[:, : seen.shape[1]][seen])  # (readable views, width)
        spread = rows.new_zeros(*seen.shape, rows.shape[1])
        spread[seen] = rows
        return spread if spec.source == "views" else spread[:, 0]


def _split(instances: Sequence[Instance], answers: Sequence[Answer], values: dict[str, Tensor]) -> Iterator[Finding]:
    """A finding for every instance of a batch."""
    for place, (instance, answer) in enumerate(zip(instances, answers, strict=True)):
        words = len(instance.text.word_starts)
        own = {name: _trim(rows[place], _WORD_AXES.get(name), words) for name, rows in values.items()}
        yield Finding(instance, answer, own, tuple(instances))


def _trim(values: Tensor, axis: int | None, length: int) -> Tensor:
    """The first ``length`` entries along an axis, or all."""
    return values if axis is None else values.narrow(axis, 0, min(length, values.shape[axis]))
