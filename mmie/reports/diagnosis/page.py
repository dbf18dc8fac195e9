"""HTML pages of `mmie diagnose`, each one file that needs no network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmie.reports.diagnosis.diagnosis import InstanceDiagnosis
from mmie.reports.diagnosis.post import post_section
from mmie.reports.diagnosis.split import split_sections
from mmie.reports.diagnosis.target import DiagnosisTarget
from mmie.reports.rendering import diagnosis_assets, html_environment
from mmie.runs.folder import CONFIG, DIAGNOSIS
from mmie.utils.files import atomic_write_text

_NUM_COLOURS = 10
_GENERATOR = "mmie diagnose"
_START_SIZE = 500
"""Bytes at the start of a file that are searched for the generator."""


def render_post(target: DiagnosisTarget, diagnoses: Sequence[InstanceDiagnosis]) -> str:
    """Render the page of one post, with a section for each of its instances."""
    sections = [post_section(target, diagnosis) for diagnosis in diagnoses]
    types: set[str] = set()
    for section in sections:
        types.update(entity_type for _, entity_type in section["gold"] + section["predicted"])
    tones = {name: index % _NUM_COLOURS for index, name in enumerate(sorted(types))}
    title = f"post {diagnoses[0].instance.post.id}"
    return _render("diagnosis_post.html", title, target, sections=sections, tones=tones)


def render_split(
    target: DiagnosisTarget,
    diagnoses: Sequence[InstanceDiagnosis],
    swapped: Sequence[InstanceDiagnosis] = (),
    unprompted: Sequence[InstanceDiagnosis] = (),
) -> str:
    """Render the page of a sample of a split.

    Args:
        target: The method and the split.
        diagnoses: Diagnoses of the sample.
        swapped: Diagnoses of the same instances with swapped pictures.
        unprompted: Diagnoses of the same instances by a run without prompting.
    """
    title = f"{len(diagnoses)} instances"
    sections = split_sections(target, diagnoses, swapped, unprompted)
    return _render("diagnosis_split.html", title, target, **sections)


def is_diagnosis(path: str | Path) -> bool:
    """Tell whether a file is a page of a diagnosis, which another one may replace.

    Raises:
        OSError: The file cannot be read.
    """
    file = Path(path)
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        start = stream.read(_START_SIZE)
    return f'<meta name="generator" content="{_GENERATOR}">'.encode() in start


def default_page(checkpoint: str | Path) -> Path:
    """Return the page of a checkpoint: in its run folder, or here if it lies in none."""
    folder = Path(checkpoint).parent
    return folder / DIAGNOSIS if (folder / CONFIG).is_file() else Path(DIAGNOSIS)


def write_page(html: str, path: str | Path) -> Path:
    """Write a page to a file, whose folders are made if they do not exist.

    Raises:
        OSError: The file cannot be written.
    """
    atomic_write_text(Path(path), html)
    return Path(path)


def _render(template: str, title: str, target: DiagnosisTarget, **values: Any) -> str:
    """Fill in a template, with every inserted text escaped."""
    method = type(target.module).__name__
    page = html_environment().get_template(template)
    return page.render(
        assets=diagnosis_assets(),
        generator=_GENERATOR,
        title=title,
        method=method,
        target=target,
        **values,
    )
