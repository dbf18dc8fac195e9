"""Damaged files are refused, named or harmless. None gives other results without a word.

A round flips a random bit of a file, or truncates the file, and reads it. Reading must end in an
error that names the file, or give exactly what the undamaged file gives, or name the file in a
note or warning. 3 rounds for each of 20 files are 60 rounds. The long form has 100, which are 2000.
"""

import json
import random
import shutil
import warnings
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from helpers.command import read_jsonl, succeed
from helpers.extractions import Killed, MortalExtractor
from helpers.fits import digest_leaves
from helpers.fitted_runs import fit_options

from mmie.checkpoints import Checkpoint, read_checkpoint
from mmie.data import DemoCorpus
from mmie.export.pretrained import save_pretrained
from mmie.grounding.center import CenterCrops
from mmie.grounding.ground import ground_posts
from mmie.inference import Extractor
from mmie.inference.jobs.job_files import JobFiles
from mmie.inference.jobs.local import extract_to_file
from mmie.reports.comparison.groups import comparison_groups
from mmie.runs import Run, find_runs
from mmie.training.features.cache import FeatureCache
from mmie.types import MmieError

pytestmark = pytest.mark.slow

EDGE = 2000
"""Bytes at both ends of a file that are damaged more often, since formats have their tables there.
"""
TRUNCATED = 0.3
"""Share of rounds in which the file is truncated."""
UNTOLD = ("store/identity.json", "journal/center.jsonl")
"""Files whose damage is harmless always: nothing reads the first, and what the second lacks is
computed again."""
SHARD = "store/shard.safetensors"
"""Stands for a shard, which is named by its content."""


class Files:
    """Undamaged files, and how they are read.

    Args:
        folder: Folder of the files.
        corpus: Folder of the corpus.
        extractor: Extractor of the jobs.
        source: Posts of the jobs.
    """

    def __init__(self, folder: Path, corpus: Path, extractor: Extractor, source: Path) -> None:
        self.folder = folder
        self.extractor = extractor
        self.source = source
        self.posts = DemoCorpus(corpus).posts("test")[:6]

    def read_run(self, folder: Path) -> tuple[Any, list[str]]:
        """Read scores and predictions of a run."""
        runs, _ = find_runs([folder / "run"])
        groups = comparison_groups(runs)
        notes = [note for group in groups for note in group.notes]
        values: list[Any] = [without_notes(run) for run in runs]
        for group in groups:
            values.append(replace(group, systems=(), notes=()))
            for system in group.systems:
                values.append([system.name, *map(without_notes, system.runs)])
                values.append(system.predictions)
        return values, notes

    def read_best(self, folder: Path) -> tuple[Any, list[str]]:
        """Read the best checkpoint of a run."""
        return content(read_checkpoint(folder / "run" / "best.ckpt")), []

    def read_last(self, folder: Path) -> tuple[Any, list[str]]:
        """Read the last checkpoint of a run."""
        return content(read_checkpoint(folder / "run" / "last.ckpt")), []

    def read_single_best(self, folder: Path) -> tuple[Any, list[str]]:
        """Read the best checkpoint without a record beside it."""
        return content(read_checkpoint(folder / "single" / "best.ckpt")), []

    def read_single_last(self, folder: Path) -> tuple[Any, list[str]]:
        """Read the last checkpoint without a record beside it."""
        return content(read_checkpoint(folder / "single" / "last.ckpt")), []

    def read_exported(self, folder: Path) -> tuple[Any, list[str]]:
        """Read an exported folder."""
        return content(read_checkpoint(folder / "exported")), []

    def read_store(self, folder: Path) -> tuple[Any, list[str]]:
        """Read the rows of a feature cache, after the computation of those that are missing."""
        cache = FeatureCache(folder / "store", "rows", {"model": "a"})
        sources = {f"key{number}": number for number in range(30)}
        cache.fill(sources, list, compute_rows)
        return cache.rows(list(sources)).tolist(), []

    def read_journal(self, folder: Path) -> tuple[Any, list[str]]:
        """Ground posts whose detections are cached, or detect again."""
        grounding = ground_posts(
            self.posts, folder / "crops", CenterCrops(), cache=folder / "journal"
        )
        return grounding.entries, []

    def continue_job(self, folder: Path) -> tuple[Any, list[str]]:
        """Continue a job that was killed while it extracted."""
        return self._extract(folder / "job")

    def complete_job(self, folder: Path) -> tuple[Any, list[str]]:
        """Complete a job that was killed before it renamed its files."""
        return self._extract(folder / "ended")

    def write_jobs(self) -> None:
        """Write the files of both jobs."""
        mortal = MortalExtractor(self.extractor, 17)
        with pytest.raises(Killed):
            extract_to_file(mortal, str(self.source), self.folder / "job" / "found.jsonl")
        with mock.patch.object(JobFiles, "_rename", side_effect=Killed), pytest.raises(Killed):
            self._extract(self.folder / "ended")

    def write_store(self) -> None:
        """Write a feature cache of three shards."""
        cache = FeatureCache(self.folder / "store", "rows", {"model": "a"})
        for start in (0, 10, 20):
            numbers = range(start, start + 10)
            cache.add([f"key{number}" for number in numbers], compute_rows(list(numbers)))

    def _extract(self, folder: Path) -> tuple[Any, list[str]]:
        """Extract to a folder and return the files' content and the counts."""
        summary = extract_to_file(self.extractor, str(self.source), folder / "found.jsonl")
        totals = {
            name: value for name, value in asdict(summary.totals).items() if name != "seconds"
        }
        texts = {file.name: file.read_bytes() for file in folder.iterdir()}
        return (totals, texts), []


Reader = Callable[[Files, Path], tuple[Any, list[str]]]
"""Returns what a folder's files give, and the notes about them."""
READERS: dict[str, Reader] = {
    "run/best.ckpt": Files.read_best,
    "run/last.ckpt": Files.read_last,
    "run/metrics.json": Files.read_run,
    "run/config.yaml": Files.read_run,
    "run/predictions.jsonl": Files.read_run,
    "single/best.ckpt": Files.read_single_best,
    "single/last.ckpt": Files.read_single_last,
    "exported/model.safetensors": Files.read_exported,
    "exported/config.json": Files.read_exported,
    "exported/tokenizer.json": Files.read_exported,
    "exported/tokenizer_config.json": Files.read_exported,
    "store/identity.json": Files.read_store,
    SHARD: Files.read_store,
    "journal/center.jsonl": Files.read_journal,
    "job/found.jsonl.progress": Files.continue_job,
    "job/found.jsonl.partial": Files.continue_job,
    "job/found.errors.jsonl.partial": Files.continue_job,
    "ended/found.jsonl.progress": Files.complete_job,
    "ended/found.jsonl.partial": Files.complete_job,
    "ended/found.errors.jsonl.partial": Files.complete_job,
}
"""What reads each file."""


@pytest.fixture(scope="module")
def files(demo_root, fitted_runs, tmp_path_factory) -> Files:
    """All files that are damaged, in their undamaged state."""
    folder = tmp_path_factory.mktemp("undamaged")
    run = shutil.copytree(fitted_runs / "ner", folder / "run")
    succeed("test", *fit_options(demo_root, run))
    (folder / "single").mkdir()
    for name in ("best.ckpt", "last.ckpt"):
        shutil.copy(run / name, folder / "single")
    save_pretrained(run / "best.ckpt", folder / "exported")
    posts = [*read_jsonl(demo_root / "test.jsonl"), *read_jsonl(demo_root / "valid.jsonl")]
    lines = [json.dumps({"text": " ".join(post["words"])}) for post in posts[:24]]
    source = folder / "posts.jsonl"
    source.write_text("\n".join([*lines[:5], "broken", *lines[5:]]), encoding="utf-8")
    extractor = Extractor.from_checkpoint(run / "best.ckpt", device="cpu", window=8)
    undamaged = Files(folder, demo_root, extractor, source)
    undamaged.write_jobs()
    undamaged.write_store()
    undamaged.read_journal(folder)
    return undamaged


@pytest.mark.parametrize("name", READERS)
def test_damage_is_refused_named_or_harmless(files, tmp_path, rounds, name):
    work = tmp_path / "work"
    copy_folder(files.folder, work)
    expected, notes = READERS[name](files, work)
    assert notes == []
    num_told = 0
    for number in range(rounds(3, 100)):
        copy_folder(files.folder, work)
        file = find_file(work, name)
        draw = random.Random(f"{name} {number}")
        damaged, damage = draw_damage(file.read_bytes(), draw)
        file.write_bytes(damaged)
        value, notes, error = read_damaged(READERS[name], files, work)
        message = f"round {number}: {file.name}, {damage}"
        if error:
            assert file.name in error or str(file.parent) in error, f"{message}: {error}"
            assert "\n" not in error, message
        is_told = bool(error) or any(file.name in note for note in notes)
        assert is_told or value == expected, f"{message}: other results without a word"
        num_told += is_told
    assert num_told >= rounds(0, 10) or name in UNTOLD, "the file is not read"


def read_damaged(read: Reader, files: Files, folder: Path) -> tuple[Any, list[str], str]:
    """Read a folder with a damaged file.

    Returns:
        What was read, all notes and warnings, and the error, empty if there was none.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value, notes = read(files, folder)
        except MmieError as error:
            return None, [], str(error)
    return value, [*notes, *(str(warning.message) for warning in caught)], ""


def draw_damage(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    """Flip a bit or truncate.

    Returns:
        The damaged content, and a description of the damage.
    """
    size = len(content)
    if draw.random() < TRUNCATED:
        rest = draw.choice([0, size - 1, draw.randrange(size)])
        return content[:rest], f"truncated to {rest} of {size} bytes"
    edge = draw.randrange(min(size, EDGE))
    position = draw.choice([draw.randrange(size), edge, size - 1 - edge])
    bit = draw.randrange(8)
    damaged = bytearray(content)
    damaged[position] ^= 1 << bit
    return bytes(damaged), f"bit {bit} of byte {position} of {size} flipped"


def copy_folder(source: Path, target: Path) -> None:
    """Replace a folder by a copy of another one."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def find_file(folder: Path, name: str) -> Path:
    """Return the file that a name of `READERS` stands for."""
    if name == SHARD:
        return min(folder.glob("store/*/*.safetensors"))
    if name.startswith(("store", "journal")):
        parent, _, file = name.partition("/")
        return next((folder / parent).rglob(file.replace("center", "center*")))
    return folder / name


def content(checkpoint: Checkpoint) -> list[str]:
    """Return a digest of each field of a checkpoint."""
    values = {field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)}
    return [f"{name} {digest_leaves(value)}" for name, value in values.items()]


def without_notes(run: Run) -> Run:
    """Return a run without its notes."""
    return replace(run, notes=())


def compute_rows(numbers: list[int]) -> torch.Tensor:
    """Compute the rows (numbers, 64) of a feature cache."""
    return torch.tensor(numbers).unsqueeze(1) + torch.arange(64) / 64
