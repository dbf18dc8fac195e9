"""Diagnosis of a trained method on posts: its predictions, and the numbers behind them."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from mmie.blocks.errors import WeightsUnavailable
from mmie.blocks.features import FeatureSpec, attach_features
from mmie.data.batching import Collator
from mmie.data.instances import Instance, mask_views, select_views, shuffle_pictures
from mmie.data.picture_audit import audit_pictures
from mmie.methods import ExtractionModule
from mmie.reports.diagnosis.target import DiagnosisTarget, check_unprompted, find_post
from mmie.types import Batch, Prediction

_BATCH_SIZE = 16
_WORD_AXES = {"prefix_mass": 1, "prompt_mass": 1, "representation": 0}
"""Axis of words in the values of one instance, not counting the batch's.

The axis is as long as the longest post of the batch.
"""
SIMILARITIES = {"learned_similarity": "learned", "clip_similarity": "CLIP"}
"""Titles of the values that compare a text with every picture of its batch."""


@dataclass(frozen=True, slots=True)
class InstanceDiagnosis:
    """Prediction of a method for one instance, with the numbers behind it.

    Attributes:
        instance: The post, and for RE the relation that was asked about.
        prediction: The prediction.
        values: Values of `ExtractionModule.diagnose` on the CPU, without the batch axis and without
            padding.
        batch_mates: All instances of its batch, in the order of similarities.
        num_images: Those of the views that are whole pictures.
    """

    instance: Instance
    prediction: Prediction
    values: dict[str, Tensor]
    batch_mates: tuple[Instance, ...]
    num_images: int = 1

    @property
    def gold(self) -> str:
        """Gold relation, or type of the first gold entity, empty if there is none."""
        if self.instance.relation is not None:
            return self.instance.relation.label
        entities = self.instance.post.entities
        return entities[0].type if entities else ""


def diagnose_split(
    target: DiagnosisTarget, count: int
) -> tuple[list[InstanceDiagnosis], list[InstanceDiagnosis]]:
    """Diagnose a random sample of the split.

    Args:
        target: The method and the split.
        count: Largest number of instances in the sample.

    Returns:
        The diagnoses in the order of the split, and for a method that matches text and picture the
        diagnoses of the same instances with swapped pictures.
    """
    instances = draw_share(target, count)
    diagnoses = diagnose(target, instances)
    if "match" not in diagnoses[0].values:
        return diagnoses, []
    return diagnoses, diagnose(target, swap_pictures(target, instances))


def diagnose_unprompted(
    target: DiagnosisTarget, unprompted: DiagnosisTarget, count: int
) -> list[InstanceDiagnosis]:
    """Diagnose the sample of `diagnose_split` by a run of the same method without prompting.

    Args:
        target: The method with prompting, and the split.
        unprompted: A run that was trained with ``prompting: false``, and the same split.
        count: Largest number of instances in the sample.

    Raises:
        DiagnosisError: The method or the task differs, or the runs do not differ in prompting.
    """
    check_unprompted(target, unprompted)
    return diagnose(unprompted, draw_share(unprompted, count))


def draw_share(target: DiagnosisTarget, count: int) -> list[Instance]:
    """Draw instances of the split at random, by the data's seed, in the order of the split."""
    indices = range(len(target.instances))
    sample = random.Random(target.data.seed).sample(indices, min(count, len(indices)))
    return [target.instances[index] for index in sorted(sample)]


def diagnose_post(target: DiagnosisTarget, post_id: str) -> list[InstanceDiagnosis]:
    """Diagnose a post, in a batch with other posts whose pictures it can be compared with.

    Raises:
        DiagnosisError: The split has no post of this id.
    """
    instances = find_post(target, post_id)
    others = [instance for instance in target.instances if instance.post.id != post_id]
    num_others = max(0, _BATCH_SIZE // 2 - len(instances))
    return diagnose(target, [*instances, *others[:num_others]])[: len(instances)]


def diagnose(target: DiagnosisTarget, instances: Sequence[Instance]) -> list[InstanceDiagnosis]:
    """Diagnose instances, in their order."""
    specs = _available_specs(target.module)
    diagnoses: list[InstanceDiagnosis] = []
    for start in range(0, len(instances), _BATCH_SIZE):
        chunk = instances[start : start + _BATCH_SIZE]
        batch = _build_batch(target, chunk, specs)
        values = {name: rows.cpu() for name, rows in target.module.diagnose(batch).items()}
        with torch.no_grad():
            predictions = target.module(batch)
        for diagnosis in _split_batch(chunk, predictions, values):
            diagnoses.append(replace(diagnosis, num_images=target.module.schema.num_images))
    return diagnoses


def swap_pictures(target: DiagnosisTarget, instances: Sequence[Instance]) -> list[Instance]:
    """Return copies of instances in which each post has the pictures of another one."""
    posts = list({instance.post.id: instance.post for instance in instances}.values())
    swapped = {post.id: post for post in shuffle_pictures(posts, target.data.seed)}
    copies = []
    for instance in instances:
        post = swapped[instance.post.id]
        views = select_views(post, target.module.schema)
        copies.append(replace(instance, post=post, views=views))
    all_views = chain.from_iterable(copy.views for copy in copies)
    files = [path for path in all_views if path is not None]
    if files:
        mask_views(copies, audit_pictures(files, target.data.transform.max_pixels))
    return copies


def _available_specs(module: ExtractionModule) -> list[FeatureSpec]:
    """Return the features that can be computed, without optional ones whose model is missing."""
    specs = module.feature_specs()
    try:
        for spec in specs:
            if spec.source == "text":
                # The first text loads the model.
                spec.compute([""])
    except WeightsUnavailable as error:
        rank_zero_warn(f"left out: {error}")
        return [spec for spec in specs if not spec.required]
    return specs


@torch.no_grad()
def _build_batch(
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


def _split_batch(
    instances: Sequence[Instance], predictions: Sequence[Prediction], values: dict[str, Tensor]
) -> Iterator[InstanceDiagnosis]:
    """Yield the diagnosis of every instance of a batch.

    Args:
        instances: The instances of the batch.
        predictions: A prediction for each of them.
        values: Values of the batch by name, (batch, ...). Those with an axis of words are cut to
            the words of each instance.
    """
    for index, (instance, prediction) in enumerate(zip(instances, predictions, strict=True)):
        num_words = len(instance.text.word_starts)
        own_values = {}
        for name, batch_values in values.items():
            value = batch_values[index]
            if name in _WORD_AXES:
                axis = _WORD_AXES[name]
                # of a relation there is one row, and not one for each word
                value = value.narrow(axis, 0, min(num_words, value.shape[axis]))
            own_values[name] = value
        yield InstanceDiagnosis(instance, prediction, own_values, batch_mates=tuple(instances))
