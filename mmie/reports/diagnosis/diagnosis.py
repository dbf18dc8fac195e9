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
from mmie.blocks.features import FeatureSpec, attach_features
from mmie.checkpoints import read_checkpoint
from mmie.data import Corpus, MultimodalDataModule
from mmie.data.batching import Collator
from mmie.data.encoding import WordTokenizer
from mmie.data.instances import Instance, mask_views, shuffle_pictures
from mmie.data.picture_audit import audit_pictures
from mmie.methods import ExtractionModule
from mmie.methods.loading import build_method
from mmie.types import Batch, MmieError, Prediction, Split
from mmie.utils.devices import resolve_device
from mmie.utils.files import read_yaml

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
class InstanceDiagnosis:
    """What a method makes of one instance, and why.

    Attributes:
        instance: The post, and the relation asked about.
        answer: The answer.
        values: What `ExtractionModule.diagnose` gives, without the axis of the batch and without padding, on the CPU.
        batch_mates: The instances of its batch, which similarities are told for.
    """

    instance: Instance
    prediction: Prediction
    values: dict[str, Tensor]
    batch_mates: tuple[Instance, ...]

    @property
    def gold(self) -> str:
        """The gold relation, or the type of the first gold entity; "" if there is none."""
        if self.instance.relation is not None:
            return self.instance.relation.label
        return self.instance.post.entities[0].type if self.instance.post.entities else ""


@dataclass(frozen=True, slots=True)
class DiagnosisTarget:
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
        raise DiagnosisError(
            f"{path}: expected a configuration with a data section: name one with --config"
        ) from error
    return settings


def load_target(
    checkpoint: str | Path, corpus: Corpus, settings: dict[str, Any], split: Split = "test"
) -> DiagnosisTarget:
    """A checkpoint and a split, read as the checkpoint was taught to read.

    Args:
        checkpoint: File of the method.
        corpus: The corpus.
        settings: A ``data`` section; of it only contexts, pictures and seed count.
        split: The split.

    Raises:
        CheckpointError: See `mmie.methods.loading.load_method`.
        CorpusError: The corpus has nothing for the method's task.
    """
    content = read_checkpoint(checkpoint)
    state, schema = content.data_state(), content.schema
    module = build_method(content)
    data = MultimodalDataModule(
        corpus,
        schema.task,
        max_tokens=schema.max_tokens,
        num_objects=schema.num_objects,
        tag_scheme=schema.tag_scheme,
        labels=list(schema.labels),
        image_size=schema.image_size,
        resize=state.transform.resize,
        max_pixels=state.transform.max_pixels,
        **{name: settings[name] for name in _FROM_CONFIG if name in settings},
    )
    data.tokenizer = WordTokenizer.from_files(state.tokenizer, schema.max_tokens)
    data.setup(_STAGES[split])
    return DiagnosisTarget(Path(checkpoint), module.to(resolve_device()), data, split)


def find_post(target: DiagnosisTarget, post_id: str) -> list[Instance]:
    """The instances of a post.

    Raises:
        DiagnosisError: The split has no such post; the message names those of like names.
    """
    found = [instance for instance in target.instances if instance.post.id == post_id]
    if not found:
        ids = list(dict.fromkeys(instance.post.id for instance in target.instances))
        close = difflib.get_close_matches(post_id, ids, n=3, cutoff=0.5) or ids[:3]
        raise DiagnosisError(
            f"--post {post_id}: {target.data.corpus.name} {target.split} has no such post; it has {', '.join(close)}"
            f"{', ...' if len(ids) > len(close) else ''}"
        )
    return found


def diagnose_split(
    target: DiagnosisTarget, count: int
) -> tuple[list[InstanceDiagnosis], list[InstanceDiagnosis]]:
    """What the method makes of ``count`` instances of the split, drawn at random, and in their order.

    Returns:
        The diagnoses; and, of a method that matches text and picture, those of the instances with others' pictures.
    """
    places = range(len(target.instances))
    chosen = random.Random(target.data.seed).sample(places, min(count, len(places)))
    instances = [target.instances[place] for place in sorted(chosen)]
    diagnoses = diagnose(target, instances)
    is_matching = "match" in diagnoses[0].values
    return diagnoses, diagnose(
        target, with_other_pictures(target, instances)
    ) if is_matching else []


def diagnose(target: DiagnosisTarget, instances: Sequence[Instance]) -> list[InstanceDiagnosis]:
    """What the method makes of instances, in their order."""
    specs = _available_specs(target.module)
    diagnoses: list[InstanceDiagnosis] = []
    for start in range(0, len(instances), _BATCH_SIZE):
        chunk = instances[start : start + _BATCH_SIZE]
        batch = _batch(target, chunk, specs)
        values = {name: rows.cpu() for name, rows in target.module.diagnose(batch).items()}
        with torch.no_grad():
            predictions = target.module(batch)
        diagnoses += _split(chunk, predictions, values)
    return diagnoses


def diagnose_post(target: DiagnosisTarget, post_id: str) -> list[InstanceDiagnosis]:
    """What the method makes of a post, in the company of other posts, whose pictures it can be compared with."""
    own = find_post(target, post_id)
    others = [instance for instance in target.instances if instance.post.id != post_id]
    batch_mates = others[: max(0, _BATCH_SIZE // 2 - len(own))]
    return diagnose(target, [*own, *batch_mates])[: len(own)]


def with_other_pictures(target: DiagnosisTarget, instances: Sequence[Instance]) -> list[Instance]:
    """The instances, each with the pictures of another post."""
    posts = list({instance.post.id: instance.post for instance in instances}.values())
    swapped = {post.id: post for post in shuffle_pictures(posts, target.data.seed)}
    count = target.module.schema.num_objects
    others = []
    for instance in instances:
        post = swapped[instance.post.id]
        crops = (*post.crops, *[None] * count)[:count]
        others.append(replace(instance, post=post, views=(post.image, *crops)))
    named = dict.fromkeys(
        path for instance in others for path in instance.views if path is not None
    )
    mask_views(
        others, audit_pictures(list(named), target.data.transform.max_pixels) if named else {}
    )
    return others


def _available_specs(module: ExtractionModule) -> list[FeatureSpec]:
    """Return the features that can be computed: without those of a model that cannot be had."""
    specs = module.feature_specs()
    try:
        for spec in specs:
            if spec.source == "text":
                spec.compute([""])  # the model behind it is loaded by the first text
    except WeightsUnavailable as error:
        rank_zero_warn(f"left out: {error}")
        return [spec for spec in specs if not spec.required]
    return specs


@torch.no_grad()
def _batch(
    target: DiagnosisTarget, instances: Sequence[Instance], specs: Sequence[FeatureSpec]
) -> Batch:
    """Pad instances to a batch on the method's device, with pixels and computed features."""
    data = target.data
    collator = Collator(target.module.schema, data.tokenizer.pad_id, data.transform)
    batch = collator(instances, range(len(instances))).to(target.module.device)

    def compute(spec: FeatureSpec) -> Tensor | None:
        if spec.source == "text":
            return spec.compute([" ".join(instance.post.words) for instance in instances])
        mask = spec.view_mask(batch)  # (batch, views or 1)
        if batch.pixels is None or not mask.any():
            return None
        return spec.compute(batch.pixels[:, : mask.shape[1]][mask])

    visual_or_text = [spec for spec in specs if spec.source != "tokens"]
    return attach_features(batch, visual_or_text, compute)


def _split(
    instances: Sequence[Instance], predictions: Sequence[Prediction], values: dict[str, Tensor]
) -> Iterator[InstanceDiagnosis]:
    """A finding for every instance of a batch."""
    for place, (instance, prediction) in enumerate(zip(instances, predictions, strict=True)):
        words = len(instance.text.word_starts)
        own = {
            name: _trim(rows[place], _WORD_AXES.get(name), words) for name, rows in values.items()
        }
        yield InstanceDiagnosis(instance, prediction, own, tuple(instances))


def _trim(values: Tensor, axis: int | None, length: int) -> Tensor:
    """The first ``length`` entries along an axis, or all."""
    return values if axis is None else values.narrow(axis, 0, min(length, values.shape[axis]))
