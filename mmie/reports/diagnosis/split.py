"""What the page of a split shows: how the method's numbers are distributed, and maps of posts."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmie.reports.diagnosis.diagnosis import SIMILARITIES, DiagnosisTarget, InstanceDiagnosis
from mmie.reports.diagnosis.figures import (
    colours,
    correlation_histogram,
    embed,
    heat,
    histogram,
    legend,
    numbered,
    path_diagram,
    picture_uri,
    spread,
    view_names,
)

_THUMBNAIL_SIDE = 48
_MOST_THUMBNAILS = 160
_MOST_POINTS = 1500


def split_sections(
    target: DiagnosisTarget,
    diagnoses: Sequence[InstanceDiagnosis],
    swapped: Sequence[InstanceDiagnosis],
) -> dict[str, Any]:
    """All that the page shows, by name; None or empty where the method has no such number."""
    shared = set.intersection(*(set(diagnosis.values) for diagnosis in diagnoses))
    values = {name: [diagnosis.values[name] for diagnosis in diagnoses] for name in shared}
    gates = _gate_spreads(diagnoses) if "gates" in values else []
    return {
        "count": len(diagnoses),
        "views": view_rows(diagnoses),
        "support": _support_histogram(diagnoses),
        "mass": _mean_mass(diagnoses) if "prefix_mass" in values else None,
        "gates": gates,
        "scales": max((len(scales) for layer in gates for scales in layer["views"]), default=0),
        "histograms": [
            *_number_histograms(values),
            *_match_histogram(values, swapped),
            *_similarities(diagnoses),
        ],
        "paths": _typical_paths(target, diagnoses) if "paths" in values else None,
        "scatters": _scatters(diagnoses),
    }


def view_rows(diagnoses: Sequence[InstanceDiagnosis]) -> list[dict[str, Any]]:
    """Means over the posts that have a view, by view."""
    support, change = (_stack(diagnoses, name) for name in ("view_support", "view_change"))
    seen = _seen(diagnoses)
    rows = []
    for place, name in enumerate(view_names(seen.shape[1])):
        gains, moved = support[seen[:, place], place], change[seen[:, place], place]
        helps = float((gains > 0).mean()) if len(gains) else 0.0
        means = [float(part.mean()) if len(part) else 0.0 for part in (gains, moved)]
        rows.append(
            {
                "name": name,
                "count": len(gains),
                "support": means[0],
                "helps": helps,
                "change": means[1],
            }
        )
    return rows


def _stack(diagnoses: Sequence[InstanceDiagnosis], name: str) -> Any:
    """A tensor of all posts, (posts, ...)."""
    return torch.stack([diagnosis.values[name] for diagnosis in diagnoses]).numpy()


def _seen(diagnoses: Sequence[InstanceDiagnosis]) -> Any:
    """Which views can be read, (posts, views) bool."""
    return np.array(
        [[path is not None for path in diagnosis.instance.views] for diagnosis in diagnoses]
    )


def _support_histogram(diagnoses: Sequence[InstanceDiagnosis]) -> dict[str, Any]:
    """What leaving out a view does to the answer's log probability."""
    support, seen = _stack(diagnoses, "view_support"), _seen(diagnoses)
    series = {"picture": support[:, 0][seen[:, 0]], "crops": support[:, 1:][seen[:, 1:]]}
    told = {name: values for name, values in series.items() if len(values)}
    bound = (
        max((float(np.quantile(np.abs(values), 0.98)) for values in told.values()), default=0.0)
        or 1.0
    )
    return histogram("Support of views", told, -bound, bound, bins=31)


def _mean_mass(diagnoses: Sequence[InstanceDiagnosis]) -> dict[str, Any]:
    """Attention of layers to views, mean over words, then over the posts that have the view."""
    masses = torch.stack(
        [diagnosis.values["prefix_mass"].mean(1) for diagnosis in diagnoses]
    )  # (posts, layers, views)
    seen = torch.from_numpy(_seen(diagnoses))
    mean = masses.sum(0) / seen.sum(0).clamp(min=1)  # (layers, views); a masked view's mass is 0
    layers, views = numbered("layer", len(mean)), view_names(mean.shape[1])
    return heat("Attention to views, mean over words and posts", layers, views, mean)


def _gate_spreads(diagnoses: Sequence[InstanceDiagnosis]) -> list[dict[str, Any]]:
    """Where the gates of every layer and view lie over the posts that have the view, scale by scale."""
    gates, seen = _stack(diagnoses, "gates"), _seen(diagnoses)
    by_scale = gates if gates.ndim == 4 else gates[..., None]  # (posts, layers, views, scales)
    kept = [
        by_scale[seen[:, view], :, view] for view in range(seen.shape[1])
    ]  # (posts, layers, scales) each
    return [
        {
            "name": f"layer {layer + 1}",
            "views": [
                [spread(part[:, layer, scale]) for scale in range(part.shape[2])]
                if len(part)
                else []
                for part in kept
            ],
        }
        for layer in range(by_scale.shape[1])
    ]


def _number_histograms(values: dict[str, list[Tensor]]) -> Iterator[dict[str, Any]]:
    """Distributions over the posts of what is one number a post, or one a hidden unit."""
    if "relevance" in values:
        gates = torch.tanh(torch.stack(values["relevance"])).tolist()
        yield histogram("Relevance gate, tanh(β)", {"posts": gates}, -1, 1)
    if "correlation" in values:
        yield correlation_histogram(torch.stack(values["correlation"]))


def _match_histogram(
    values: dict[str, list[Tensor]], swapped: Sequence[InstanceDiagnosis]
) -> Iterator[dict[str, Any]]:
    """The match score of right pictures beside that of other posts' pictures; 0 stands for no picture."""
    if "match" in values:
        pairs = {
            "its own picture": values["match"],
            "another's picture": [f.values["match"] for f in swapped],
        }
        scores = {
            name: [score.item() for score in told if score > 0] for name, told in pairs.items()
        }
        series = {name: told for name, told in scores.items() if told}
        yield histogram("Match of text and picture, which comes in above 0.5", series, 0, 1)


def _similarities(diagnoses: Sequence[InstanceDiagnosis]) -> Iterator[dict[str, Any]]:
    """Similarities of texts with their own and with other pictures of their batches."""
    for name, title in SIMILARITIES.items():
        told = [diagnosis for diagnosis in diagnoses if name in diagnosis.values]
        if told:
            pairs = [pair for diagnosis in told for pair in _pairs(diagnosis, name)]
            series = {
                "its own picture": [score for score, is_own in pairs if is_own],
                "other pictures": [score for score, is_own in pairs if not is_own],
            }
            yield histogram(f"Similarity of text and picture, {title}", series, -1, 1, bins=40)


def _pairs(diagnosis: InstanceDiagnosis, name: str) -> list[tuple[float, bool]]:
    """The similarity of a text with every picture of its batch, and whether the picture is its own."""
    scores, own = diagnosis.values[name].tolist(), diagnosis.instance.views[0]
    pairs = zip(scores, diagnosis.batch_mates, strict=True)
    return [(score, other.views[0] == own) for score, other in pairs if other.views[0] is not None]


def _typical_paths(
    target: DiagnosisTarget, diagnoses: Sequence[InstanceDiagnosis]
) -> dict[str, Any]:
    """The paths of one post: of middling relevance where there is one."""
    ranked = sorted(
        diagnoses, key=lambda diagnosis: float(diagnosis.values.get("relevance", torch.zeros(())))
    )
    chosen = ranked[len(ranked) // 2]
    diagram = path_diagram(chosen.values["paths"].numpy(), target.units)
    return {**diagram, "words": " ".join(chosen.instance.post.words), "id": chosen.instance.post.id}


def _scatters(diagnoses: Sequence[InstanceDiagnosis]) -> list[dict[str, Any]]:
    """Maps of what lies close together, coloured by gold label."""
    scatters = []
    if "routing" in diagnoses[0].values:
        vectors = np.stack(
            [diagnosis.values["routing"].flatten().numpy() for diagnosis in diagnoses]
        )
        points = [
            (vector, diagnosis.gold or "nothing", diagnosis)
            for vector, diagnosis in zip(vectors, diagnoses, strict=True)
        ]
        scatters.append(_scatter("Routing vectors of posts", points, _MOST_THUMBNAILS))
    for name, caption in (
        ("representation", "What is classified"),
        ("unprompted", "The same without the prompt"),
    ):
        if name in diagnoses[0].values:
            scatters.append(_scatter(caption, _classified(diagnoses, name), 0))
    return [scatter for scatter in scatters if scatter is not None]


def _classified(
    diagnoses: Sequence[InstanceDiagnosis], name: str
) -> list[tuple[Any, str, InstanceDiagnosis]]:
    """Vectors of gold entities' first words, or of pairs, each with its gold label."""
    points = []
    for diagnosis in diagnoses:
        rows = diagnosis.values[name].numpy()
        if diagnosis.instance.relation is not None:
            points.append((rows[0], diagnosis.gold, diagnosis))
        else:
            entities = [
                entity for entity in diagnosis.instance.post.entities if entity.start < len(rows)
            ]
            points += [(rows[entity.start], entity.type, diagnosis) for entity in entities]
    return points[:_MOST_POINTS]


def _scatter(
    caption: str, points: Sequence[tuple[Any, str, InstanceDiagnosis]], thumbnails: int
) -> dict[str, Any] | None:
    """A map by t-SNE; None of too few points. The first points show their pictures."""
    places = embed(np.stack([vector for vector, _, _ in points])) if points else None
    if places is None:
        return None
    labels = [label for _, label, _ in points]
    numbers = colours(labels)
    drawn = [
        {
            "x": x,
            "y": y,
            "colour": numbers[label],
            "title": f"{label}: {' '.join(diagnosis.instance.post.words)}",
            "uri": picture_uri(diagnosis.instance.views[0], _THUMBNAIL_SIDE)
            if place < thumbnails
            else None,
        }
        for place, ((_, label, diagnosis), (x, y)) in enumerate(
            zip(points, places.tolist(), strict=True)
        )
    ]
    return {"caption": caption, "points": drawn, "legend": legend(labels)}
