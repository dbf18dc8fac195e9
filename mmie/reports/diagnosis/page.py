"""The pages of `mmie diagnose`: one HTML file each, which needs no network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mmie.reports.diagnosis.diagnosis import DiagnosisTarget, InstanceDiagnosis
from mmie.reports.diagnosis.post import post_section
from mmie.reports.diagnosis.split import split_sections

_COLOURS = 10


def render_post(target: DiagnosisTarget, diagnoses: Sequence[InstanceDiagnosis]) -> str:
    """The page of one post: a section for every thing that was asked about it."""
    sections = [post_section(target, diagnosis) for diagnosis in diagnoses]
    kinds = sorted(
        {kind for section in sections for _, kind in (*section["gold"], *section["found"])}
    )
    tones = {kind: place % _COLOURS for place, kind in enumerate(kinds)}
    title = f"post {diagnoses[0].instance.post.id}"
    return _render("diagnosis_post.html", title, target, sections=sections, tones=tones)


def render_split(
    target: DiagnosisTarget,
    diagnoses: Sequence[InstanceDiagnosis],
    swapped: Sequence[InstanceDiagnosis] = (),
) -> str:
    """The page of a sample of a split; ``swapped`` are diagnoses of the same posts with the pictures of others."""
    return _render(
        "diagnosis_split.html",
        f"{len(diagnoses)} instances",
        target,
        **split_sections(target, diagnoses, swapped),
    )


def write_page(html: str, path: str | Path) -> Path:
    """Write a page, and the folders that lead to it; the file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html, encoding="utf-8")
    return path


def _render(template: str, title: str, target: DiagnosisTarget, **page: Any) -> str:
    """A template filled in; every text is escaped."""
    environment = Environment(
        loader=PackageLoader("mmie.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    method = type(target.module).__name__
    return environment.get_template(template).render(
        title=title, method=method, target=target, **page
    )
