"""Posts to crops: what is detected in their pictures, cut out and written; and the same for one picture in memory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from rich.console import Console
from rich.progress import track

from mmie.data.picture_audit import audit_pictures, picture_digests
from mmie.data.pictures import MAX_PIXELS, PictureError, load_picture
from mmie.grounding.cache import DetectionCache, Found
from mmie.grounding.detection import Detection, Detector, GroundingError
from mmie.grounding.files import atomic_write
from mmie.grounding.index import Crop, IndexEntry
from mmie.grounding.phrases import PhraseSource, noun_phrases
from mmie.grounding.selection import cut, select
from mmie.types import Post

_QUALITY = 95
_DIGITS = 16
"""Hexadecimal digits of a picture's digest that name its crops."""


@dataclass(slots=True)
class Grounding:
    """What came of grounding posts.

    Attributes:
        posts: The posts, with these crops in place of those they had.
        entries: The index, an entry for each post with a readable picture; ``image`` is an absolute path.
        unreadable: Why a picture could not be used, by its file.
        detected: Pictures (with their phrases) that were put to the detector now.
        remembered: Those whose result an earlier run had left.
        written: Crops that were written now; the others were there already.
    """

    posts: list[Post] = field(default_factory=list)
    entries: list[IndexEntry] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)
    detected: int = 0
    remembered: int = 0
    written: int = 0


class _Work(NamedTuple):
    """A picture and what to look for in it; posts that agree in both share it."""

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
    """Cut crops out of the pictures of posts.

    What the detector finds is kept after every batch, and a crop file, named after its picture's content and its box,
    is there whole or not at all: a run after an interruption goes on where that one stopped. Two batches of pictures
    are in memory at a time.

    Args:
        posts: Posts with picture files, or without a picture.
        out: Folder for the crop files.
        detector: Finds the objects.
        num_crops: Most crops of a post.
        phrases: What to look for in a post's picture; not asked if the detector reads no phrases.
        batch_size: Pictures that are put to the detector together.
        max_pixels: A picture with more pixels is not decoded.
        cache: Folder of what detectors found; None takes the package's own.

    Raises:
        GroundingError: A post's picture is no file, or crops cannot be written.
    """
    kept = list(posts)
    memory = DetectionCache(detector, cache)
    paths = {
        place: _picture_file(post) for place, post in enumerate(kept) if post.image is not None
    }
    digests = picture_digests(paths.values(), max_pixels)
    asked = phrases if detector.reads_phrases else _nothing
    work = {
        place: _to_work(memory, path, digests[path], asked(kept[place]))
        for place, path in paths.items()
        if path in digests
    }
    result = Grounding(unreadable=audit_pictures(paths.values(), max_pixels))
    crops = _Grounder(out, detector, num_crops, max_pixels, memory, result).run(
        list(work.values()), batch_size
    )
    for place, post in enumerate(kept):
        own = crops.get(work[place].key, ()) if place in work else ()
        result.posts.append(replace(post, crops=tuple(out / crop.file for crop in own)))
        if place in work and work[place].key in crops:
            result.entries.append(
                IndexEntry(post.id, str(paths[place].absolute()), work[place].phrases, own)
            )
    return result


class _Grounder:
    """The batches of one call of `ground_posts`."""

    def __init__(
        self,
        out: Path,
        detector: Detector,
        num_crops: int,
        max_pixels: int,
        memory: DetectionCache,
        result: Grounding,
    ) -> None:
        self.out = out
        self.detector = detector
        self.num_crops = num_crops
        self.max_pixels = max_pixels
        self.memory = memory
        self.result = result

    def run(self, work: Sequence[_Work], batch_size: int) -> dict[str, tuple[Crop, ...]]:
        """The crops of each key."""
        distinct = list({item.key: item for item in work}.values())
        distinct.sort(
            key=lambda item: len(item.phrases)
        )  # detectors batch pictures with equally many phrases
        batches = [
            distinct[start : start + batch_size] for start in range(0, len(distinct), batch_size)
        ]
        crops: dict[str, tuple[Crop, ...]] = {}
        console = Console(stderr=True)
        shown = track(
            self._loaded(batches),
            f"Grounding with {self.detector.name}",
            total=len(batches),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        for batch, pictures in shown:
            crops.update(self._ground(batch, pictures))
        return crops

    def _loaded(
        self, batches: Iterable[list[_Work]]
    ) -> Iterator[tuple[list[_Work], dict[str, Image.Image]]]:
        """Batches with the pictures that are still needed, the next one's decoded while this one's are looked at."""
        with ThreadPoolExecutor(1) as pool:
            pending = None
            for batch in batches:
                following = batch, pool.submit(self._load, batch)
                if pending is not None:
                    yield pending[0], pending[1].result()
                pending = following
            if pending is not None:
                yield pending[0], pending[1].result()

    def _load(self, batch: Sequence[_Work]) -> dict[str, Image.Image]:
        """Pictures that have to be looked at, or cut, by key."""
        return {
            item.key: picture
            for item in batch
            if (item.key not in self.memory or self._missing(item))
            and (picture := self._open(item.path)) is not None
        }

    def _open(self, path: Path) -> Image.Image | None:
        """A picture; None, and a note in the result, if it has become unreadable since it was looked at."""
        try:
            return load_picture(path, self.max_pixels)
        except PictureError as error:
            self.result.unreadable[path] = str(error)
            return None

    def _ground(
        self, batch: Sequence[_Work], pictures: Mapping[str, Image.Image]
    ) -> dict[str, tuple[Crop, ...]]:
        """The crops of a batch, each written."""
        new = [item for item in batch if item.key in pictures and item.key not in self.memory]
        known = [item for item in batch if item.key in self.memory]
        if new:
            found = self.detector.detect(
                [pictures[item.key] for item in new], [item.phrases for item in new]
            )
            sizes = [pictures[item.key].size for item in new]
            self.memory.add(
                {
                    item.key: Found(*of)
                    for item, of in zip(new, zip(sizes, found, strict=True), strict=True)
                }
            )
        self.result.detected += len(new)
        self.result.remembered += len(known)
        for item in (*new, *known):
            if item.key in pictures:
                self._write(item, pictures[item.key])
        return {item.key: self._crops(item) for item in (*new, *known) if not self._missing(item)}

    def _crops(self, item: _Work) -> tuple[Crop, ...]:
        """The crops of a picture that was looked at."""
        found = self.memory[item.key]
        return tuple(
            _to_crop(item, d) for d in select(found.detections, found.size, self.num_crops)
        )

    def _missing(self, item: _Work) -> list[Crop]:
        """Crops of a picture that have no file yet."""
        return [crop for crop in self._crops(item) if not (self.out / crop.file).is_file()]

    def _write(self, item: _Work, picture: Image.Image) -> None:
        """Cut and write the crops that have no file yet."""
        for crop in self._missing(item):
            if crop.box is not None:
                save = partial(cut(picture, crop.box).save, quality=_QUALITY)
                atomic_write(self.out / crop.file, save)
                self.result.written += 1


class Cropper:
    """Crops of a picture in memory, for posts as they come.

    Args:
        detector: Finds the objects.
        num_crops: Most crops of a picture.
        phrases: What to look for, given a post's words; not asked if the detector reads no phrases.
    """

    def __init__(
        self, detector: Detector, num_crops: int = 3, phrases: PhraseSource = noun_phrases
    ) -> None:
        self.detector = detector
        self.num_crops = num_crops
        self.phrases = phrases if detector.reads_phrases else _nothing

    def crops(self, picture: Image.Image, words: Sequence[str]) -> list[Image.Image]:
        """Crops of an RGB picture, best first, given the post's words."""
        wanted = self.phrases(Post(words=tuple(words)))
        (found,) = self.detector.detect([picture], [wanted])
        return [
            cut(picture, detection.box) for detection in select(found, picture.size, self.num_crops)
        ]


def _nothing(post: Post) -> list[str]:
    """No phrases, for a detector that reads none."""
    return []


def _picture_file(post: Post) -> Path:
    """The picture file of a post."""
    if not isinstance(post.image, Path | str):
        raise GroundingError(
            f"post {post.id}: expected a picture file, found a picture in memory: see Cropper"
        )
    return Path(post.image)


def _to_work(memory: DetectionCache, path: Path, digest: str, phrases: Sequence[str]) -> _Work:
    return _Work(memory.key(digest, phrases), path, digest, tuple(phrases))


def _to_crop(item: _Work, detection: Detection) -> Crop:
    """A detection with the name of its file, which says picture and box."""
    edges = "-".join(map(str, detection.box))
    name = f"{item.digest[:_DIGITS]}-{edges}.jpg"
    return Crop(name, detection.box, detection.phrase, detection.score, detection.detector)
