"""Extraction over many machines: Ray Data reads posts, actors answer them, Parquet files hold what was found."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from mmie.data.sources import SourceError
from mmie.inference.extractor import Extractor, load_extractor
from mmie.inference.jobs.ray_cluster import find_gpus, in_order, session, write_rows
from mmie.inference.jobs.ray_rows import (
    find_source,
    locate,
    read_rows,
    result_schema,
    row_schema,
    to_post,
    to_result,
)
from mmie.types import Extraction, Post
from mmie.utils.optional import require

DONE = "_SUCCESS"
"""An empty file beside the results that says that they are all there; readers of Parquet pass over it."""
_ROWS = 256
"""Posts that are read at a time."""
_FETCHERS = 16
"""Threads of an actor that fetch pictures from object storage."""


class Outcome(NamedTuple):
    """What a run left.

    Attributes:
        posts: Rows written.
        with_problems: Those of them of whose post something could not be used.
    """

    posts: int
    with_problems: int


def extract_with_ray(
    source: str,
    out: str,
    checkpoints: Mapping[str, str],
    batch_size: int = 32,
    num_actors: int = 1,
    gpus_per_actor: float | None = None,
    cpus_per_actor: float = 1,
    window: int = 256,
    images: str | None = None,
    rows_per_file: int = 50_000,
    address: str | None = None,
) -> Outcome:
    """Answer all posts of some files, and write Parquet files with a row for each.

    The rows, files in order of their names, are in the order of the posts. They are, value for value, what an
    `Extractor` with the same checkpoints, ``batch_size`` and ``window`` gives on the same device. A post that cannot be
    read has a row that says so in ``problems``; since it takes a place in its window, the last digits of the others'
    probabilities may then differ. A post without an id is named by its line or row, behind its file if there are
    several.

    Places are paths or URLs that pyarrow knows (``s3://``, ``gs://``, ``file://``...). Paths, those of the checkpoints
    among them, must lead to the same on every machine. A file is read by one task.

    Args:
        source: A ``.parquet`` or ``.jsonl`` file, or a folder of such; see `mmie.inference.jobs.ray_rows`.
        out: Folder for the results, empty or not there yet. Until the run is through it holds no `DONE`.
        checkpoints: By task, as `Extractor` puts them together: ``ner``, ``re``, or both.
        batch_size: Posts, or pairs of entities, that are computed together.
        num_actors: Copies of the models at most; fewer start where there is no room for more.
        gpus_per_actor: Share of a GPU that each takes; None takes 1 if there is any.
        cpus_per_actor: Cores that each takes.
        window: Posts that an actor gets at a time.
        images: Folder that the names of pictures count from; by default that of the posts. None outside is opened.
        rows_per_file: Rows of a file of results, at least.
        address: Cluster to join; by default that of ``RAY_ADDRESS``, or else a new one on this machine.

    Raises:
        CheckpointError: A checkpoint cannot be used.
        MissingPackageError: Ray is not installed.
        RayEngineError: There is no such cluster, or no room for an actor, or Ray stopped.
        SourceError: The posts cannot be read, or the results not written.
    """
    ray, data = require("ray", "ray"), require("ray.data", "ray")
    files, folder = find_source(source)
    _check_empty(out)
    settings: dict[str, Any] = {
        **_absolute(checkpoints),
        "batch_size": batch_size,
        "window": window,
    }
    load_extractor(
        **settings, device="cpu"
    )  # what is wrong with a checkpoint is told before a cluster starts
    with session(ray, address, cpus_per_actor), in_order(data):
        gpus = find_gpus(ray, gpus_per_actor)
        rows = data.from_items(list(files), override_num_blocks=len(files))
        rows = rows.map_batches(
            partial(_read, source=source, alone=len(files) == 1),
            batch_size=None,
            batch_format="pyarrow",
        )
        rows = rows.repartition(target_num_rows_per_block=window, strict=True)
        rows = rows.map_batches(
            PostActor,
            fn_constructor_kwargs={
                **settings,
                "device": "cuda" if gpus else "cpu",
                "images": images or folder,
            },
            batch_size=None,  # a block as it is: a window
            batch_format="pyarrow",
            compute=data.ActorPoolStrategy(min_size=1, max_size=num_actors),
            num_gpus=gpus,
            num_cpus=cpus_per_actor,
        )
        write_rows(rows, out, rows_per_file)
    return _finish(out)


class PostActor:
    """Holds an extractor, and answers windows of posts.

    Args:
        images: Folder of the pictures.
        **options: As `load_extractor` takes them.
    """

    def __init__(self, images: str, **options: Any) -> None:
        self.extractor = load_extractor(**options)
        self.pictures = locate(images)

    def __call__(self, table: Any) -> Any:
        """Rows of `result_schema` for rows of `row_schema`, pyarrow tables both."""
        results = answer_rows(self.extractor, table.to_pylist(), *self.pictures)
        return require("pyarrow", "ray").Table.from_pylist(results, schema=result_schema())


def answer_rows(
    extractor: Extractor, rows: Sequence[Mapping[str, Any]], system: Any, folder: str
) -> list[Any]:
    """A row of results for every row of posts.

    Args:
        extractor: What answers them.
        rows: Rows of `row_schema`.
        system: The file system of the pictures.
        folder: Where they lie on it.
    """
    with ThreadPoolExecutor(_FETCHERS) as pool:
        read = list(pool.map(lambda row: to_post(row, system, folder), rows))
    predictions = iter(_to_prediction(extractor, [post for post in read if isinstance(post, Post)]))
    bad = Extraction("", "", ())
    return [
        to_result(
            next(predictions)
            if isinstance(post, Post)
            else replace(bad, id=row["name"], problems=(post,))
        )
        for row, post in zip(rows, read, strict=True)
    ]


def _to_prediction(extractor: Extractor, posts: Sequence[Post[Any]]) -> list[Extraction]:
    """What is found in posts; if they cannot be answered together, each by itself.

    If then none of several can be, the fault is not the posts', and is raised.
    """
    try:
        return extractor.extract(posts)
    except Exception:  # whatever one post makes a model raise, the others must not pay for it
        alone = [_answer_alone(extractor, post) for post in posts]
        if len(posts) > 1 and not any(answered for answered, _ in alone):
            raise
        return [found for _, found in alone]


def _answer_alone(extractor: Extractor, post: Post[Any]) -> tuple[bool, Extraction]:
    """Whether a post can be answered, and what is found in it."""
    try:
        return True, extractor.extract([post])[0]
    except Exception as error:
        problem = f"post: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        return False, Extraction(
            post.id,
            " ".join(post.words) if post.text is None else post.text,
            (),
            (),
            (),
            (problem,),
        )


def _read(files: Any, source: str, alone: bool) -> Iterator[Any]:
    """Tables of `row_schema` with the posts of files, some at a time; ``alone`` if there is but one file."""
    schema = row_schema()
    system, _ = locate(source)
    for file in files["item"].to_pylist():
        rows = read_rows(system, file, "" if alone else f"{PurePosixPath(file).name}:")
        while some := list(islice(rows, _ROWS)):
            yield require("pyarrow", "ray").Table.from_pylist(some, schema=schema)
    yield schema.empty_table()


def _absolute(checkpoints: Mapping[str, str]) -> dict[str, str]:
    """The checkpoints as actors find them, which start in another folder."""
    return {
        task: os.path.abspath(path) if os.path.exists(path) else path
        for task, path in checkpoints.items()
    }


def _check_empty(out: str) -> None:
    """Refuse a folder with something in it.

    Raises:
        SourceError: It has, or it cannot be looked at.
    """
    fs = require("pyarrow.fs", "ray")
    system, name = locate(out)
    try:
        found = system.get_file_info(fs.FileSelector(name, allow_not_found=True))
    except OSError as error:
        raise SourceError(f"'{out}' cannot be written to: {str(error).splitlines()[0]}") from error
    if found:
        raise SourceError(f"'{out}' holds files already: name a new folder, or empty it")


def _finish(out: str) -> Outcome:
    """Mark the results as whole, and count them."""
    dataset, compute = require("pyarrow.dataset", "ray"), require("pyarrow.compute", "ray")
    system, name = locate(out)
    system.create_dir(name)
    results = dataset.dataset(name, schema=result_schema(), filesystem=system, format="parquet")
    told = compute.list_value_length(dataset.field("problems")) > 0
    outcome = Outcome(results.count_rows(), results.count_rows(filter=told))
    system.open_output_stream(f"{name}/{DONE}").close()
    return outcome
