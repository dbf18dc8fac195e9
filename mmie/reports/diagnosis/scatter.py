"""Scatter plots of posts, entities and pairs by t-SNE, coloured by gold label."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mmie.reports.diagnosis.diagnosis import InstanceDiagnosis
from mmie.reports.diagnosis.figures import FloatArray, colours, embed_in_plane, legend
from mmie.reports.pictures import picture_data_uri

_THUMBNAIL_SIDE = 48
_MAX_THUMBNAILS = 160
_MAX_POINTS = 1500
_CLASSIFIED = "What is classified"
_UNPROMPTED = "What is classified in the run without prompting"


class LabelledVector(NamedTuple):
    """Vector that a scatter plot shows as a point.

    Attributes:
        vector: (width,).
        label: Gold label.
        diagnosis: Diagnosis that the vector comes from.
    """

    vector: FloatArray
    label: str
    diagnosis: InstanceDiagnosis


def scatter_plots(
    diagnoses: Sequence[InstanceDiagnosis], unprompted: Sequence[InstanceDiagnosis] = ()
) -> list[dict[str, Any]]:
    """Lay out the plots of routing vectors, if the method has them, and of classified vectors.

    Args:
        diagnoses: The diagnoses.
        unprompted: Diagnoses of the same instances by a run without prompting, whose classified
            vectors have a plot of their own.
    """
    plots = []
    if "routing" in diagnoses[0].values:
        vectors = _routing_vectors(diagnoses)
        plots.append(_scatter_plot("Routing vectors of posts", vectors, _MAX_THUMBNAILS))
    for caption, group in ((_CLASSIFIED, diagnoses), (_UNPROMPTED, unprompted)):
        plots.append(_scatter_plot(caption, _classified_vectors(group), num_thumbnails=0))
    return [plot for plot in plots if plot is not None]


def _routing_vectors(diagnoses: Sequence[InstanceDiagnosis]) -> list[LabelledVector]:
    """Flatten the routing weights of each instance to a vector."""
    vectors = []
    for diagnosis in diagnoses:
        vector = diagnosis.values["routing"].flatten().numpy()
        label = diagnosis.gold or "nothing"  # a post without gold entities
        vectors.append(LabelledVector(vector, label, diagnosis))
    return vectors


def _classified_vectors(diagnoses: Sequence[InstanceDiagnosis]) -> list[LabelledVector]:
    """Collect the classified vectors of the first words of gold entities, or of pairs."""
    vectors = []
    for diagnosis in diagnoses:
        rows = diagnosis.values["representation"].numpy()  # (words or 1, width)
        if diagnosis.instance.relation is not None:
            vectors.append(LabelledVector(rows[0], diagnosis.gold, diagnosis))
            continue
        for entity in diagnosis.instance.post.entities:
            if entity.start < len(rows):
                vectors.append(LabelledVector(rows[entity.start], entity.type, diagnosis))
    return vectors[:_MAX_POINTS]


def _scatter_plot(
    caption: str, vectors: Sequence[LabelledVector], num_thumbnails: int
) -> dict[str, Any] | None:
    """Lay out a plot of vectors.

    Args:
        caption: Caption of the plot.
        vectors: The vectors.
        num_thumbnails: Number of points, from the first, that are shown as pictures.

    Returns:
        ``caption``, ``points`` and ``legend``; None if the vectors are too few or all equal.
    """
    if not vectors:
        return None
    coordinates = embed_in_plane(np.stack([entry.vector for entry in vectors]))  # (points, 2)
    if coordinates is None:
        return None
    labels = [entry.label for entry in vectors]
    numbers = colours(labels)
    points = []
    for index, (entry, (x, y)) in enumerate(zip(vectors, coordinates.tolist(), strict=True)):
        instance = entry.diagnosis.instance
        uri = None
        if index < num_thumbnails:
            uri = picture_data_uri(instance.views[0], _THUMBNAIL_SIDE)
        point = {
            "x": x,
            "y": y,
            "colour": numbers[entry.label],
            "title": f"{entry.label}: {' '.join(instance.post.words)}",
            "uri": uri,
        }
        points.append(point)
    return {"caption": caption, "points": points, "legend": legend(labels)}
