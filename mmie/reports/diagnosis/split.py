"""Content of the page of a split: distributions of the method's numbers over its instances."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmie.reports.diagnosis.diagnosis import SIMILARITIES, InstanceDiagnosis
from mmie.reports.diagnosis.figures import (
    correlation_histogram,
    heat_table,
    histogram,
    numbered,
    path_diagram,
    quantiles,
    view_names,
)
from mmie.reports.diagnosis.scatter import scatter_plots
from mmie.reports.diagnosis.target import DiagnosisTarget

_OWN_PICTURE, _OTHER_PICTURES = "its own picture", "other pictures"
_SWAPPED_PICTURE = "another's picture"


def split_sections(
    target: DiagnosisTarget,
    diagnoses: Sequence[InstanceDiagnosis],
    swapped: Sequence[InstanceDiagnosis],
    unprompted: Sequence[InstanceDiagnosis] = (),
) -> dict[str, Any]:
    """Collect the content of the page, by the names of the template.

    Args:
        target: The method and the split.
        diagnoses: Diagnoses of a sample.
        swapped: Diagnoses of the same instances with swapped pictures.
        unprompted: Diagnoses of the same instances by a run without prompting.

    Returns:
        The content; None or empty where the method has no such values.
    """
    shared = set.intersection(*(set(diagnosis.values) for diagnosis in diagnoses))
    sections: dict[str, Any] = {
        "count": len(diagnoses),
        "views": view_rows(diagnoses),
        "support": _support_histogram(diagnoses),
        "mass": None,
        "gates": [],
        "num_scales": 0,
        "histograms": list(_histograms(diagnoses, swapped, shared)),
        "paths": None,
        "scatters": scatter_plots(diagnoses, unprompted),
    }
    if "prefix_mass" in shared:
        sections["mass"] = _mean_attention(diagnoses)
    if "gates" in shared:
        sections["gates"] = _gate_quantiles(diagnoses)
        sections["num_scales"] = max(len(scales) for scales in sections["gates"][0]["views"])
    if "paths" in shared:
        sections["paths"] = _typical_paths(target, diagnoses)
    return sections


def view_rows(diagnoses: Sequence[InstanceDiagnosis]) -> list[dict[str, Any]]:
    """Average the effect of each view over the instances that have it.

    Returns:
        For each view its ``name``, the ``count`` of instances, the mean ``support``, the share of
        instances with positive support (``helps``), and the mean ``change``.
    """
    support = _stack(diagnoses, "view_support").numpy()  # (instances, views)
    change = _stack(diagnoses, "view_change").numpy()  # (instances, views)
    readable = _readable_views(diagnoses)  # (instances, views)
    rows = []
    for index, name in enumerate(view_names(readable.shape[1], diagnoses[0].num_images)):
        support_of_view = support[readable[:, index], index]
        change_of_view = change[readable[:, index], index]
        row = {
            "name": name,
            "count": len(support_of_view),
            "support": _mean(support_of_view),
            "helps": _mean(support_of_view > 0),
            "change": _mean(change_of_view),
        }
        rows.append(row)
    return rows


def _stack(diagnoses: Sequence[InstanceDiagnosis], name: str) -> Tensor:
    """Stack a value of all instances, (instances, ...)."""
    return torch.stack([diagnosis.values[name] for diagnosis in diagnoses])


def _readable_views(diagnoses: Sequence[InstanceDiagnosis]) -> Any:
    """Return a mask of the views that can be read, (instances, views) bool."""
    rows = []
    for diagnosis in diagnoses:
        rows.append([path is not None for path in diagnosis.instance.views])
    return np.array(rows)


def _mean(values: Any) -> float:
    """Average an array, which gives 0 for an empty one."""
    return float(values.mean()) if len(values) else 0.0


def _support_histogram(diagnoses: Sequence[InstanceDiagnosis]) -> dict[str, Any]:
    """Compute the distribution of the support of whole pictures and of crops."""
    support = _stack(diagnoses, "view_support").numpy()  # (instances, views)
    readable = _readable_views(diagnoses)  # (instances, views)
    count = diagnoses[0].num_images
    pictures = support[:, :count][readable[:, :count]]  # (readable pictures,)
    crops = support[:, count:][readable[:, count:]]  # (readable crops,)
    series, bound = {}, 0.0
    for name, values in (("picture", pictures), ("crops", crops)):
        if len(values):
            series[name] = values
            bound = max(bound, float(np.quantile(np.abs(values), 0.98)))
    bound = bound or 1.0
    return histogram("Support of views", series, -bound, bound, bins=31)


def _mean_attention(diagnoses: Sequence[InstanceDiagnosis]) -> dict[str, Any]:
    """Average the attention of each layer to each view over words and instances with the view."""
    masses = [diagnosis.values["prefix_mass"].mean(1) for diagnosis in diagnoses]
    total = torch.stack(masses).sum(0)  # (layers, views); the mass of a masked view is 0
    num_readable = torch.from_numpy(_readable_views(diagnoses)).sum(0)  # (views,)
    mean = total / num_readable.clamp(min=1)  # (layers, views)
    views = view_names(mean.shape[1], diagnoses[0].num_images)
    layers = numbered("layer", len(mean))
    return heat_table("Attention to views, mean over words and posts", layers, views, mean)


def _gate_quantiles(diagnoses: Sequence[InstanceDiagnosis]) -> list[dict[str, Any]]:
    """Compute quantiles of the gates over the instances that have the view.

    Returns:
        For each layer its ``name``, and ``views`` with the quantiles of each scale.
    """
    gates = _stack(diagnoses, "gates").numpy()  # (instances, layers, views[, scales])
    if gates.ndim == 3:
        gates = gates[..., None]  # (instances, layers, views, scales)
    readable = _readable_views(diagnoses)  # (instances, views)
    num_layers, num_views, num_scales = gates.shape[1:]
    layers = []
    for layer in range(num_layers):
        views = []
        for view in range(num_views):
            of_view = gates[readable[:, view], layer, view]  # (instances with the view, scales)
            scales = range(num_scales) if len(of_view) else ()
            views.append([quantiles(of_view[:, scale]) for scale in scales])
        layers.append({"name": f"layer {layer + 1}", "views": views})
    return layers


def _histograms(
    diagnoses: Sequence[InstanceDiagnosis],
    swapped: Sequence[InstanceDiagnosis],
    names: set[str],
) -> Iterator[dict[str, Any]]:
    """Yield the distributions of values that relate text and picture.

    Args:
        diagnoses: Diagnoses of a sample.
        swapped: Diagnoses of the same instances with swapped pictures.
        names: Names of the values that all instances have.
    """
    if "relevance" in names:
        gates = torch.tanh(_stack(diagnoses, "relevance")).tolist()
        yield histogram("Relevance gate, tanh(β)", {"posts": gates}, -1, 1)
    if "correlation" in names:
        yield correlation_histogram(_stack(diagnoses, "correlation"))
    if "match" in names:
        yield _match_histogram(diagnoses, swapped)
    yield from _similarity_histograms(diagnoses)


def _match_histogram(
    diagnoses: Sequence[InstanceDiagnosis], swapped: Sequence[InstanceDiagnosis]
) -> dict[str, Any]:
    """Compute the distributions of match scores with own and with swapped pictures."""
    series = {}
    for name, group in ((_OWN_PICTURE, diagnoses), (_SWAPPED_PICTURE, swapped)):
        scores = [diagnosis.values["match"].item() for diagnosis in group]
        # A score of 0 stands for an instance without a picture.
        of_pictures = [score for score in scores if score > 0]
        if of_pictures:
            series[name] = of_pictures
    caption = "Match of text and picture (a gate opens above 0.5)"
    return histogram(caption, series, 0, 1)


def _similarity_histograms(diagnoses: Sequence[InstanceDiagnosis]) -> Iterator[dict[str, Any]]:
    """Yield the distributions of similarities with own pictures and with others of the batch."""
    for name, title in SIMILARITIES.items():
        with_similarity = [diagnosis for diagnosis in diagnoses if name in diagnosis.values]
        if not with_similarity:
            continue
        series: dict[str, list[float]] = {_OWN_PICTURE: [], _OTHER_PICTURES: []}
        for diagnosis in with_similarity:
            own_picture = diagnosis.instance.views[0]
            scores = diagnosis.values[name].tolist()
            for score, mate in zip(scores, diagnosis.batch_mates, strict=True):
                picture = mate.views[0]
                if picture is not None:
                    kind = _OWN_PICTURE if picture == own_picture else _OTHER_PICTURES
                    series[kind].append(score)
        yield histogram(f"Similarity of text and picture, {title}", series, -1, 1, bins=40)


def _typical_paths(
    target: DiagnosisTarget, diagnoses: Sequence[InstanceDiagnosis]
) -> dict[str, Any]:
    """Lay out the paths of the post with the median relevance."""
    no_relevance = torch.zeros(())
    ranked = sorted(diagnoses, key=lambda entry: float(entry.values.get("relevance", no_relevance)))
    median = ranked[len(ranked) // 2]
    diagram = path_diagram(median.values["paths"].numpy(), target.units)
    post = median.instance.post
    return {**diagram, "words": " ".join(post.words), "id": post.id}
