"""Object crops for the picture files of posts: detection, cutting and writing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from rich.markup import escape
from rich.progress import track

from mmie.data.frame_files import check_videos
from mmie.data.picture_audit import audit_pictures, picture_digests
from mmie.data.pictures import MAX_PIXELS, PictureError, load_picture
from mmie.grounding.cache import DetectionCache, PictureDetections
from mmie.grounding.detection import Detector
from mmie.grounding.errors import GroundingError, write_errors
from mmie.grounding.index import Crop, IndexEntry
from mmie.grounding.phrases import PhraseSource, no_phrases, noun_phrases
from mmie.grounding.selection import crop_image, select
from mmie.types import Post
from mmie.utils.files import atomic_write
from mmie.utils.prefetch import prefetch
from mmie.utils.terminal import PlainConsole, printable

_QUALITY = 95
"""JPEG quality of crops."""
_DIGITS = 16
"""Hexadecimal digits of a picture's digest in the names of its crops."""


@dataclass(slots=True)
class Grounding:
    """Result of grounding posts.

    Attributes:
        posts: The posts, with the new crops in place of their own.
        entries: An index entry for each post with a readable picture; ``image`` is an absolute
            path.
        unreadable: Reason why a picture cannot be used, by its file.
        detected: Number of pictures, each with its phrases, that the detector processed.
        cached: Number of pictures whose detections an earlier run had cached.
        written: Number of crop files that were written; the others existed already.
    """

    posts: list[Post] = field(default_factory=list)
    entries: list[IndexEntry] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)
    detected: int = 0
    cached: int = 0
    written: int = 0


class _Query(NamedTuple):
    """A picture and the phrases to look for in it, which several posts may share."""

    key: str
    path: Path
    digest: str
    phrases: tuple[str, ...]


def ground_posts(
    posts: Iterable[Post],
    out: Path,
    detector: Detector,
    num_crops: int = 3,
    phrases: PhraseSource = noun_phrases,
    batch_size: int = 8,
    max_pixels: int = MAX_PIXELS,
    cache: Path | None = None,
) -> Grounding:
    """Detect objects in the pictures of posts and write them as crops.

    An interrupted run continues where it stopped: detections are cached after every batch, and crop
    files, which are named by their picture's content and their box, are written atomically. At most
    two batches of pictures are in memory at a time.

    Of a post with several pictures, the crops are those of the first one, as are those that
    `read_post` cuts.

    Args:
        posts: Posts with picture files, or without a picture.
        out: Folder of the crop files.
        detector: Detects the objects.
        num_crops: Most crops of a post.
        phrases: Source of the phrases to look for; ignored if the detector reads no phrases.
        batch_size: Pictures that are processed together.
        max_pixels: Largest picture, in pixels, that is decoded.
        cache: Folder of cached detections; None is the package's own.

    Raises:
        GroundingError: A post's picture is not a file, or a crop cannot be written.
    """
    posts = list(posts)
    detection_cache = DetectionCache(detector, cache)
    paths: dict[int, Path] = {}
    for index, post in enumerate(posts):
        if post.image is not None:
            paths[index] = _picture_file(post)
    digests = picture_digests(paths.values(), max_pixels)
    find_phrases = phrases if detector.reads_phrases else no_phrases
    queries: dict[int, _Query] = {}
    for index, path in paths.items():
        if path in digests:
            post_phrases = tuple(find_phrases(posts[index]))
            key = detection_cache.key(digests[path], post_phrases)
            queries[index] = _Query(key, path, digests[path], post_phrases)
    further = [Path(image) for post in posts for image in post.more_images]
    unreadable = audit_pictures([*paths.values(), *further], max_pixels)
    result = Grounding(unreadable=check_videos(unreadable, max_pixels))
    grounder = _Grounder(out, detector, num_crops, max_pixels, detection_cache, result)
    crops = grounder.run(queries.values(), batch_size)
    for index, post in enumerate(posts):
        post_crops: tuple[Crop, ...] = ()
        query = queries.get(index)
        if query is not None and query.key in crops:
            post_crops = crops[query.key]
            image = str(query.path.absolute())
            result.entries.append(IndexEntry(post.id, image, query.phrases, post_crops))
        result.posts.append(replace(post, crops=tuple(out / crop.file for crop in post_crops)))
    return result


def _picture_file(post: Post) -> Path:
    """Return the picture file of a post.

    Raises:
        GroundingError: The post's picture is not a file.
    """
    if not isinstance(post.image, Path | str):
        raise GroundingError(
            f"post {post.id}: expected a picture file, found a picture in memory: see Cropper"
        )
    return Path(post.image)


@dataclass(slots=True)
class _Grounder:
    """Detection and cutting in batches, for one call of `ground_posts`.

    Attributes:
        out: Folder of the crop files.
        detector: Detects the objects.
        num_crops: Most crops of a picture.
        max_pixels: Largest picture, in pixels, that is decoded.
        cache: Cache of detections.
        result: Receives the counts, and the pictures that cannot be read.
    """

    out: Path
    detector: Detector
    num_crops: int
    max_pixels: int
    cache: DetectionCache
    result: Grounding

    def run(self, queries: Iterable[_Query], batch_size: int) -> dict[str, tuple[Crop, ...]]:
        """Detect, cut and write the crops of all queries.

        Returns:
            Crops by the query's key, without queries whose picture cannot be read any more.
        """
        distinct = list({query.key: query for query in queries}.values())
        # detectors batch only pictures with equally many phrases
        distinct.sort(key=lambda query: len(query.phrases))
        starts = range(0, len(distinct), batch_size)
        batches = [distinct[start : start + batch_size] for start in starts]
        console = PlainConsole(stderr=True)
        loaded_batches = track(
            prefetch(self._load_pictures, batches),
            escape(printable(f"Grounding with {self.detector.name}")),
            total=len(batches),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        crops: dict[str, tuple[Crop, ...]] = {}
        for batch, pictures in loaded_batches:
            self._detect(batch, pictures)
            for query in batch:
                if query.key in pictures:
                    self._write_crops(query, pictures[query.key])
                if query.key in self.cache and not self._missing_crops(query):
                    crops[query.key] = self._crops(query)
        return crops

    def _load_pictures(self, batch: Sequence[_Query]) -> dict[str, Image.Image]:
        """Load the pictures that have no cached detections or lack crop files, by query key."""
        pictures = {}
        for query in batch:
            if query.key in self.cache and not self._missing_crops(query):
                continue
            try:
                pictures[query.key] = load_picture(query.path, self.max_pixels)
            except PictureError as error:
                # the file has changed since it was audited
                self.result.unreadable[query.path] = str(error)
        return pictures

    def _detect(self, batch: Sequence[_Query], pictures: Mapping[str, Image.Image]) -> None:
        """Detect in the pictures that have no cached detections, and cache the results.

        Raises:
            GroundingError: The cache cannot be written, which is found before the detection.
        """
        uncached = [query for query in batch if query.key not in self.cache]
        new = [query for query in uncached if query.key in pictures]
        self.result.cached += len(batch) - len(uncached)
        self.result.detected += len(new)
        if not new:
            return
        self.cache.check_writable()
        new_pictures = [pictures[query.key] for query in new]
        all_detections = self.detector.detect(new_pictures, [query.phrases for query in new])
        results = {}
        for query, picture, detections in zip(new, new_pictures, all_detections, strict=True):
            results[query.key] = PictureDetections(picture.size, detections)
        self.cache.add(results)

    def _crops(self, query: _Query) -> tuple[Crop, ...]:
        """Select the crops of a picture from its cached detections.

        A crop file is named by the picture's content and the box.
        """
        result = self.cache[query.key]
        selected = select(result.detections, result.size, self.num_crops)
        crops = []
        for detection in selected:
            edges = "-".join(map(str, detection.box))
            file = f"{query.digest[:_DIGITS]}-{edges}.jpg"
            crop = Crop(file, detection.box, detection.phrase, detection.score, detection.detector)
            crops.append(crop)
        return tuple(crops)

    def _missing_crops(self, query: _Query) -> list[Crop]:
        """List the crops of a picture whose files do not exist."""
        return [crop for crop in self._crops(query) if not (self.out / crop.file).is_file()]

    def _write_crops(self, query: _Query, picture: Image.Image) -> None:
        """Write the crop files of a picture that do not exist.

        Raises:
            GroundingError: A file cannot be written.
        """
        for crop in self._missing_crops(query):
            assert crop.box is not None, "only crops of published indices have no box"
            file = self.out / crop.file
            save = partial(crop_image(picture, crop.box).save, quality=_QUALITY)
            with write_errors(file):
                atomic_write(file, save)
            self.result.written += 1
