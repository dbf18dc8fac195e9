"""Extraction on many machines with Ray Data: read posts, extract in actors, write Parquet files."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from mmie.data.sources import SourceError
from mmie.inference.extractor import Extractor, load_extractor
from mmie.inference.jobs.ray_cluster import ordered_data, ray_session, resolve_gpus, write_rows
from mmie.inference.jobs.ray_rows import (
    UNREADABLE,
    extraction_to_row,
    list_source,
    read_rows,
    resolve_location,
    result_schema,
    row_schema,
    row_to_post,
)
from mmie.inference.result_options import ResultOptions
from mmie.types import Extraction, Post
from mmie.utils.optional import require
from mmie.utils.plugins import import_modules, searched_folder
from mmie.utils.text import first_line

SUCCESS = "_SUCCESS"
"""Empty file beside the results that marks them as complete; readers of Parquet ignore it."""
_READ_ROWS = 256
"""Posts that are read at a time."""
_FETCH_THREADS = 16
"""Threads of an actor that fetch pictures from object storage."""


@dataclass(frozen=True, slots=True)
class RayOptions:
    """Settings of a Ray job.

    Attributes:
        batch_size: Posts, or pairs of entities, that are computed together.
        window: Posts that an actor receives at a time.
        num_actors: Largest number of copies of the models; fewer start where resources are short.
        gpus_per_actor: Share of a GPU that each takes; None takes 1 if the cluster has any.
        cpus_per_actor: Cores that each takes.
        rows_per_file: Smallest number of rows of a file of results.
        follow_links: Whether links may lead to pictures outside their folder, see
            `mmie.data.parsing.LinkedFolder`.
        address: Cluster to join; None takes that of ``RAY_ADDRESS``, or else a new one on this
            machine.
        results: Long posts, least probabilities, and types of relations.
    """

    batch_size: int = 32
    window: int = 256
    num_actors: int = 1
    gpus_per_actor: float | None = None
    cpus_per_actor: float = 1
    rows_per_file: int = 50_000
    follow_links: bool = False
    address: str | None = None
    results: ResultOptions = field(default_factory=ResultOptions)


class RaySummary(NamedTuple):
    """Result of a Ray job.

    Attributes:
        posts: Rows that were written.
        with_problems: Rows of posts of which some part could not be used.
        unreadable: Rows of posts that could not be read at all.
    """

    posts: int
    with_problems: int
    unreadable: int = 0


def extract_with_ray(
    source: str,
    out: str,
    checkpoints: Mapping[str, str],
    images: str | None = None,
    options: RayOptions | None = None,
) -> RaySummary:
    """Extract entities and relations from files of posts and write them to Parquet files.

    Each post has one row, in the order of the files' names and of their posts. Rows equal, value
    for value, what an `Extractor` with the same checkpoints, ``batch_size`` and ``window`` returns
    on the same device. A post that cannot be read has a row whose ``problems`` say why; since it
    takes up a position in its window, the last digits of the others' probabilities may then differ.
    A post without an id is named by its line or row, after the name of its file if there are
    several.

    Locations are paths, or URLs that pyarrow supports (``s3://``, ``gs://``, ``file://``...).
    Paths, those of the checkpoints included, must lead to the same files on every machine. Each
    file is read by one task.

    Args:
        source: A ``.parquet`` or ``.jsonl`` file, or a folder of such files; see
            `mmie.inference.jobs.ray_rows`.
        out: New or empty folder for the results. It holds no `SUCCESS` until the job is finished.
        checkpoints: Checkpoints by task: ``ner``, ``re``, or both.
        images: Folder that the names of pictures are relative to, by default that of the posts. No
            picture outside it is opened.
        options: Settings of the job; None takes the defaults.

    Raises:
        CheckpointError: A checkpoint cannot be used.
        RelationTypesError: The types of relations cannot be used.
        MissingPackageError: Ray is not installed.
        RayEngineError: The cluster cannot be reached, has no room for an actor, or Ray stopped.
        SourceError: The posts cannot be read, or the results cannot be written.
    """
    options = options or RayOptions()
    ray, data = require("ray", "ray"), require("ray.data", "ray")
    files, folder = list_source(source)
    _check_empty(out)
    extractor_options: dict[str, Any] = {
        **_absolute_paths(checkpoints),
        "batch_size": options.batch_size,
        "window": options.window,
        **asdict(options.results),
    }
    if os.path.exists(options.results.relation_types):
        extractor_options["relation_types"] = os.path.abspath(options.results.relation_types)
    # A wrong checkpoint is reported before a cluster starts.
    modules = method_modules(load_extractor(**extractor_options, device="cpu"))
    with ray_session(ray, options.address, options.cpus_per_actor), ordered_data(data):
        gpus = resolve_gpus(ray, options.gpus_per_actor)
        extractor_options["device"] = "cuda" if gpus else "cpu"
        rows = _read_windows(data, source, files, options.window)
        rows = rows.map_batches(
            ExtractionActor,
            fn_constructor_kwargs={
                **extractor_options,
                "images": images or folder,
                "follow_links": options.follow_links,
                "modules": modules,
                "searched": os.getcwd(),
            },
            batch_size=None,  # a block as it is: a window
            batch_format="pyarrow",
            compute=data.ActorPoolStrategy(min_size=1, max_size=options.num_actors),
            num_gpus=gpus,
            num_cpus=options.cpus_per_actor,
        )
        write_rows(rows, out, options.rows_per_file)
    return _finish(out)


class ExtractionActor:
    """Ray actor that holds an extractor and applies it to windows of posts.

    Args:
        images: Folder of the pictures.
        follow_links: Whether links may lead out of it.
        modules: Modules of the methods' classes, which the process that starts the actor has
            imported.
        searched: Folder that they are looked for in first.
        **options: Arguments of `load_extractor`.
    """

    def __init__(
        self,
        images: str,
        follow_links: bool,
        modules: Sequence[str],
        searched: str,
        **options: Any,
    ) -> None:
        with searched_folder(searched):
            import_modules(modules)
        self.extractor = load_extractor(**options)
        self.filesystem, self.folder = resolve_location(images)
        self.follow_links = follow_links

    def __call__(self, table: Any) -> Any:
        """Map a pyarrow table of `row_schema` to a table of `result_schema`."""
        results = extract_rows(
            self.extractor, table.to_pylist(), self.filesystem, self.folder, self.follow_links
        )
        return require("pyarrow", "ray").Table.from_pylist(results, schema=result_schema())


def method_modules(extractor: Extractor) -> list[str]:
    """Return the modules of the classes of an extractor's methods."""
    predictors = (extractor.ner, extractor.re)
    return [type(part.method).__module__ for part in predictors if part is not None]


def extract_rows(
    extractor: Extractor,
    rows: Sequence[Mapping[str, Any]],
    filesystem: Any,
    folder: str,
    follow_links: bool = False,
) -> list[dict[str, Any]]:
    """Extract entities and relations from rows of posts.

    Args:
        extractor: The extractor.
        rows: Rows of `row_schema`.
        filesystem: File system of the pictures.
        folder: Folder of the pictures there.
        follow_links: Whether links may lead out of it.

    Returns:
        A row of `result_schema` for each row.
    """
    with ThreadPoolExecutor(_FETCH_THREADS) as pool:
        read = partial(row_to_post, filesystem=filesystem, folder=folder, follow_links=follow_links)
        posts = list(pool.map(read, rows))
    readable = [post for post in posts if isinstance(post, Post)]
    extractions = iter(_extract_posts(extractor, readable))
    results = []
    for row, post in zip(rows, posts, strict=True):
        if isinstance(post, Post):
            results.append(extraction_to_row(next(extractions), row["line"], post))
        else:
            extraction = Extraction(row["name"], "", (), problems=(post,))
            results.append(extraction_to_row(extraction))
    return results


def _read_windows(data: Any, source: str, files: Sequence[str], window: int) -> Any:
    """Return a Ray data set of the posts of files in blocks of one window each."""
    rows = data.from_items(list(files), override_num_blocks=len(files))
    rows = rows.map_batches(
        partial(_read_tables, source=source, is_single_file=len(files) == 1),
        batch_size=None,
        batch_format="pyarrow",
    )
    return rows.repartition(target_num_rows_per_block=window, strict=True)


def _read_tables(files: Any, source: str, is_single_file: bool) -> Iterator[Any]:
    """Yield pyarrow tables of `row_schema` with the posts of files, some posts at a time.

    Args:
        files: Table with the paths of the files.
        source: Path or URL of the source, which has their file system.
        is_single_file: Whether the source is one file, whose name the posts' names leave out.
    """
    pa, schema = require("pyarrow", "ray"), row_schema()
    filesystem, _ = resolve_location(source)
    for file in files["item"].to_pylist():
        prefix = "" if is_single_file else f"{PurePosixPath(file).name}:"
        rows = read_rows(filesystem, file, prefix)
        while chunk := list(islice(rows, _READ_ROWS)):
            yield pa.Table.from_pylist(chunk, schema=schema)
    yield schema.empty_table()


def _extract_posts(extractor: Extractor, posts: Sequence[Post[Any]]) -> list[Extraction]:
    """Extract from posts together, or from each alone if that raises an exception.

    If each of several posts raises alone, too, the model is at fault, and its exception is raised.
    """
    try:
        return extractor.extract(posts)
    except Exception:  # one post that makes the model fail must not cost the others
        extractions = []
        num_failed = 0
        for post in posts:
            try:
                extractions.append(extractor.extract([post])[0])
            except Exception as error:
                extractions.append(_failed_extraction(post, error))
                num_failed += 1
        if 1 < len(posts) == num_failed:
            raise
        return extractions


def _failed_extraction(post: Post[Any], error: Exception) -> Extraction:
    """Return an empty extraction whose problem is the exception that a post caused."""
    text = " ".join(post.words) if post.text is None else post.text
    message = (str(error).splitlines() or [""])[0]
    problem = f"post: {type(error).__name__}: {message}"
    return Extraction(post.id, text, (), problems=(problem,))


def _absolute_paths(checkpoints: Mapping[str, str]) -> dict[str, str]:
    """Make paths of checkpoints absolute, since actors start in another folder."""
    paths = {}
    for task, path in checkpoints.items():
        paths[task] = os.path.abspath(path) if os.path.exists(path) else path
    return paths


def _check_empty(out: str) -> None:
    """Raise unless the folder of the results is new or empty.

    Raises:
        SourceError: The folder holds files, or cannot be listed.
    """
    fs = require("pyarrow.fs", "ray")
    filesystem, path = resolve_location(out)
    try:
        files = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
    except OSError as error:
        raise SourceError(f"'{out}' cannot be written to: {first_line(error)}") from error
    if files:
        raise SourceError(f"'{out}' holds files already: name a new folder, or empty it")


def _finish(out: str) -> RaySummary:
    """Count the results and mark them as complete."""
    dataset, compute = require("pyarrow.dataset", "ray"), require("pyarrow.compute", "ray")
    filesystem, path = resolve_location(out)
    filesystem.create_dir(path)
    results = dataset.dataset(path, schema=result_schema(), filesystem=filesystem, format="parquet")
    has_problems = compute.list_value_length(dataset.field("problems")) > 0
    num_unreadable = 0
    for batch in results.to_batches(columns=["problems"], filter=has_problems):
        num_unreadable += sum(
            problems[0].startswith(UNREADABLE) for problems in batch["problems"].to_pylist()
        )
    summary = RaySummary(
        results.count_rows(), results.count_rows(filter=has_problems), num_unreadable
    )
    filesystem.open_output_stream(f"{path}/{SUCCESS}").close()
    return summary
