"""Extraction on many machines with Ray Data: read posts, extract in actors, write Parquet files.

`mmie.inference.jobs.ray_shards` describes the files. Tasks read the posts, actors extract from one
window at a time, and the process that starts the job receives their rows in the order of the posts
and writes them. An actor or a task that dies is started again, and computes its window again.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from mmie.grounding.cropper import Cropper
from mmie.grounding.detectors import build_detector
from mmie.inference.extractor import Extractor, load_extractor
from mmie.inference.jobs.progress import show_progress
from mmie.inference.jobs.ray_cluster import (
    errors_of_workers,
    ordered_data,
    ray_session,
    resolve_gpus,
)
from mmie.inference.jobs.ray_rows import (
    UNREADABLE,
    SourceFiles,
    extraction_to_row,
    list_source,
    read_rows,
    resolve_location,
    result_schema,
    row_schema,
    row_to_post,
)
from mmie.inference.jobs.ray_shards import FILE, Position, ShardFolder
from mmie.inference.result_options import ResultOptions
from mmie.types import Extraction, Post
from mmie.utils.devices import resolve_device
from mmie.utils.files import digest_path
from mmie.utils.optional import require
from mmie.utils.plugins import import_modules, searched_folder

_RETRIES = 3
"""Attempts to compute a window again whose actor died. A window that kills each ends the job."""
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
        rows_per_file: Largest number of rows of a file of results, rounded up to whole windows. A
            job that starts again begins behind its last whole file.
        detector: Detector that cuts crops for posts that bring none, see `build_detector`.
        num_crops: Crops that it cuts from a picture.
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
    rows_per_file: int = 10_000
    detector: str = "none"
    num_crops: int = 3
    follow_links: bool = False
    address: str | None = None
    results: ResultOptions = field(default_factory=ResultOptions)


class RaySummary(NamedTuple):
    """Result of a Ray job.

    Attributes:
        posts: Rows that were written.
        with_problems: Rows of posts of which some part could not be used.
        unreadable: Rows of posts that could not be read at all.
        resumed: Rows that earlier attempts had written.
    """

    posts: int
    with_problems: int
    unreadable: int = 0
    resumed: int = 0


def extract_with_ray(
    source: str,
    out: str,
    checkpoints: Mapping[str, str],
    images: str | None = None,
    options: RayOptions | None = None,
) -> RaySummary:
    """Extract entities and relations from files of posts and write them to Parquet files.

    Each post has one row, in the order of the files' names and of their posts. No window holds
    posts of two files. The rows of a file equal, value for value, what an `Extractor` with the same
    checkpoints, ``batch_size`` and ``window`` returns for its posts on the same device. A post that
    cannot be read has a row whose ``problems`` say why; since it takes up a position in its window,
    the last digits of the others' probabilities may then differ. A post without an id is named by
    its line or row, after the name of its file if there are several.

    A job that was interrupted goes on behind its last whole file of results if it is started again
    with the same settings and files of posts.

    Locations are paths, or URLs that pyarrow supports (``s3://``, ``gs://``, ``file://``...).
    Paths, those of the checkpoints included, must lead to the same files on every machine. Each
    file is read by one task.

    Args:
        source: A ``.parquet`` or ``.jsonl`` file, or a folder of such files; see
            `mmie.inference.jobs.ray_rows`.
        out: Folder for the results: a new or an empty one, or that of the interrupted job. It holds
            no ``_SUCCESS`` until the job is finished.
        checkpoints: Checkpoints by task: ``ner``, ``re``, or both.
        images: Folder that the names of pictures are relative to, by default that of the posts. No
            picture outside it is opened.
        options: Settings of the job; None takes the defaults.

    Raises:
        CheckpointError: A checkpoint cannot be used.
        GroundingError: The detector is not known.
        JobError: An interrupted job had other settings or files of posts, or its results are
            damaged or cannot be written.
        RelationTypesError: The types of relations cannot be used.
        MissingPackageError: Ray is not installed.
        RayEngineError: The cluster cannot be reached, has no room for an actor, or Ray stopped.
        SourceError: The posts cannot be read, or the folder holds other files.
        WeightsUnavailable: The detector's weights cannot be loaded.
    """
    options = options or RayOptions()
    ray, data = require("ray", "ray"), require("ray.data", "ray")
    files = list_source(source)
    extractor_options: dict[str, Any] = {
        **_absolute_paths(checkpoints),
        "batch_size": options.batch_size,
        "window": options.window,
        **asdict(options.results),
    }
    if os.path.exists(options.results.relation_types):
        extractor_options["relation_types"] = os.path.abspath(options.results.relation_types)
    # A wrong checkpoint or detector is reported before a cluster starts.
    extractor = load_extractor(**extractor_options, device="cpu")
    if options.detector != "none":
        build_detector(options.detector, resolve_device("cpu"))
    shards = ShardFolder(
        *resolve_location(out),
        identity=_identity(extractor_options, images or files.folder, options),
        sources=files.states,
        rows=-(-options.rows_per_file // options.window) * options.window,
    )
    shards.begin()
    resumed = sum(shard.rows for shard in shards.shards)
    with (
        ray_session(ray, options.address, options.cpus_per_actor),
        ordered_data(data),
        errors_of_workers(),
    ):
        gpus = resolve_gpus(ray, options.gpus_per_actor)
        rows = _read_windows(data, source, files, options.window, shards.position)
        rows = rows.map_batches(
            ExtractionActor,
            fn_constructor_kwargs={
                **extractor_options,
                "device": "cuda" if gpus else "cpu",
                "images": images or files.folder,
                "follow_links": options.follow_links,
                "modules": method_modules(extractor),
                "searched": os.getcwd(),
                "detector": options.detector,
                "num_crops": options.num_crops,
            },
            batch_size=None,  # a block as it is: a window
            batch_format="pyarrow",
            compute=data.ActorPoolStrategy(min_size=1, max_size=options.num_actors),
            num_gpus=gpus,
            num_cpus=options.cpus_per_actor,
            max_restarts=-1,
            max_task_retries=_RETRIES,
        )
        tables = rows.iter_batches(batch_size=None, batch_format="pyarrow")
        with show_progress(None, resumed) as advance:
            for count in shards.write(tables):
                advance(count)
    return _count(shards, resumed)


class ExtractionActor:
    """Ray actor that holds an extractor and applies it to windows of posts.

    Args:
        images: Folder of the pictures.
        follow_links: Whether links may lead out of it.
        modules: Modules of the methods' classes, which the process that starts the actor has
            imported.
        searched: Folder that they are looked for in first.
        detector: Detector that cuts crops, see `build_detector`; ``none`` cuts no crops.
        num_crops: Crops that it cuts from a picture.
        **options: Arguments of `load_extractor`.
    """

    def __init__(
        self,
        images: str,
        follow_links: bool,
        modules: Sequence[str],
        searched: str,
        detector: str = "none",
        num_crops: int = 3,
        **options: Any,
    ) -> None:
        with searched_folder(searched):
            import_modules(modules)
        self.extractor = load_extractor(**options)
        if detector != "none":
            found_by = build_detector(detector, resolve_device(options["device"]))
            self.extractor.cropper = Cropper(found_by, num_crops)
        self.filesystem, self.folder = resolve_location(images)
        self.follow_links = follow_links

    def __call__(self, table: Any) -> Any:
        """Map a window of rows to their results.

        Args:
            table: ``pyarrow`` table of `row_schema` with the column `FILE`.

        Returns:
            A table of `result_schema` with the column `FILE`.
        """
        pa = require("pyarrow", "ray")
        rows = [row for row in table.to_pylist() if row["name"] is not None]
        results = extract_rows(
            self.extractor, rows, self.filesystem, self.folder, self.follow_links
        )
        for row, result in zip(rows, results, strict=True):
            result[FILE] = row[FILE]
        return pa.Table.from_pylist(results, schema=_with_file(result_schema()))


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


def read_windows(
    files: Any, source: str, window: int, is_single_file: bool = False
) -> Iterator[Any]:
    """Yield the posts of files in windows.

    The last window of a file is filled up with rows without a name, so that Ray, which cuts the
    rows of all files into blocks of one window each, begins a block with each file.

    Args:
        files: ``pyarrow`` table of the files: their paths (``path``), numbers (`FILE`) and numbers
            of rows to skip (``skip``).
        source: Path or URL of the source, which has their file system.
        window: Number of posts of a window.
        is_single_file: Whether the source is one file, whose name the posts' names leave out.

    Yields:
        Tables of `row_schema` with the column `FILE`.
    """
    pa, schema = require("pyarrow", "ray"), _with_file(row_schema())
    filesystem, _ = resolve_location(source)
    filler = dict.fromkeys(schema.names)
    for file in files.to_pylist():
        prefix = "" if is_single_file else f"{PurePosixPath(file['path']).name}:"
        rows = islice(read_rows(filesystem, file["path"], prefix), file["skip"], None)
        while chunk := [{**row, FILE: file[FILE]} for row in islice(rows, window)]:
            chunk += [filler] * (window - len(chunk))
            yield pa.Table.from_pylist(chunk, schema=schema)
    yield schema.empty_table()


def _read_windows(
    data: Any, source: str, files: SourceFiles, window: int, position: Position
) -> Any:
    """Return a Ray data set of the posts behind a position in blocks of one window each."""
    items = []
    for number, path in enumerate(files.files):
        if number >= position.file:
            skip = position.row if number == position.file else 0
            items.append({"path": path, FILE: number, "skip": skip})
    rows = data.from_items(items, override_num_blocks=len(items))
    rows = rows.map_batches(
        partial(read_windows, source=source, window=window, is_single_file=len(files.files) == 1),
        batch_size=None,
        batch_format="pyarrow",
    )
    return rows.repartition(target_num_rows_per_block=window, strict=True)


def _with_file(schema: Any) -> Any:
    """Add the column `FILE` to a schema."""
    pa = require("pyarrow", "ray")
    return schema.append(pa.field(FILE, pa.int64()))


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


def _identity(
    extractor_options: Mapping[str, Any], images: str, options: RayOptions
) -> dict[str, Any]:
    """Return the settings that the results depend on, with digests of files."""
    identity = {**extractor_options, "pictures": images, "follow_links": options.follow_links}
    for key in ("ner", "re", "relation_types"):
        value = identity.get(key)
        if value is not None and os.path.exists(value):
            identity[key] = digest_path(Path(value))
    return identity | {"detector": options.detector, "num_crops": options.num_crops}


def _count(shards: ShardFolder, resumed: int) -> RaySummary:
    """Count the rows of complete results."""
    dataset, compute = require("pyarrow.dataset", "ray"), require("pyarrow.compute", "ray")
    results = dataset.dataset(
        shards.path, schema=result_schema(), filesystem=shards.filesystem, format="parquet"
    )
    has_problems = compute.list_value_length(dataset.field("problems")) > 0
    num_problems = num_unreadable = 0
    for batch in results.to_batches(columns=["problems"], filter=has_problems):
        num_problems += batch.num_rows
        num_unreadable += sum(
            problems[0].startswith(UNREADABLE) for problems in batch["problems"].to_pylist()
        )
    return RaySummary(results.count_rows(), num_problems, num_unreadable, resumed)
