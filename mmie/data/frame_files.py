"""Frames of the animations and videos of a corpus, kept as picture files.

All that reads pictures of a corpus reads files, see `mmie.data.embedded`. Frames are kept there as
PNG, named by their SHA-256. A list of the frames of each file, by the SHA-256 of the file and the
settings, lies in ``$MMIE_CACHE/frames/``, so that a file is decoded once.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from mmie.data.animations import load_frames, share_views
from mmie.data.embedded import embedded_folder, keep_picture
from mmie.data.picture_audit import cache_folder
from mmie.data.pictures import PictureError
from mmie.data.videos import video_container
from mmie.types import Post
from mmie.utils.files import atomic_write_text, digest_file

_VERSION = 1
"""Version of how frames are chosen and decoded; lists of other versions are not used."""


class FrameFiles:
    """Pictures of posts in which animations and videos are replaced by files of their frames.

    Args:
        num_images: Pictures of a post.
        max_pixels: Pixels of the largest picture that is decoded.

    Attributes:
        problems: Reason why a video cannot be decoded, by its file.
    """

    def __init__(self, num_images: int, max_pixels: int) -> None:
        self.num_images = num_images
        self.max_pixels = max_pixels
        self.problems: dict[Path, str] = {}
        self._shares: dict[tuple[Path, ...], list[int]] = {}
        self._frames: dict[tuple[Path, int], list[Path]] = {}

    def expand(self, posts: Iterable[Post]) -> list[Post]:
        """Return posts with as many pictures as they have views for, frames included.

        The first frame of an animation stays the file of the animation, of which it is what a
        picture's decoder reads. A post without animations and videos stays as it is.
        """
        expanded: list[Post] = []
        for post in posts:
            images = self._expand_images(post.images)
            if images != post.images[: len(images)]:
                post = replace(post, image=images[0], more_images=images[1:])
            expanded.append(post)
        return expanded

    def _expand_images(self, images: tuple[Path, ...]) -> tuple[Path, ...]:
        """Return the pictures of a post with the frames of those that are moving."""
        if images not in self._shares:
            self._shares[images] = share_views(images, self.num_images, self.max_pixels)
        files: list[Path] = []
        for image, share in zip(images, self._shares[images], strict=False):
            if (image, share) not in self._frames:
                self._frames[image, share] = self._frame_files(image, share)
            files += self._frames[image, share]
        return tuple(files)

    def _frame_files(self, image: Path, count: int) -> list[Path]:
        """Return the files of the frames of a picture, or the file itself if it has one frame."""
        is_video = video_container(image) is not None
        if count == 1 and not is_video:
            return [image]
        try:
            frames = self._kept_frames(image, count)
        except (PictureError, OSError) as error:
            if is_video:
                self.problems[image] = str(error)
            return [image]
        return frames if is_video else [image, *frames[1:]]

    def _kept_frames(self, image: Path, count: int) -> list[Path]:
        """Return the kept frames of an animation or video, which is decoded if there are none.

        Raises:
            PictureError: The file cannot be decoded.
            OSError: The file cannot be read, or a frame not be written.
        """
        content = json.dumps([_VERSION, digest_file(image), count, self.max_pixels])
        key = hashlib.sha256(content.encode()).hexdigest()
        listing = cache_folder() / "frames" / key[:2] / f"{key}.json"
        frames = _listed_frames(listing)
        if not frames:
            for frame in load_frames(image, count, self.max_pixels):
                stream = io.BytesIO()
                frame.save(stream, "PNG", compress_level=1)
                frames.append(keep_picture(stream.getvalue()))
            atomic_write_text(listing, json.dumps([file.name for file in frames]))
        return frames


def check_videos(unreadable: Mapping[Path, str], max_pixels: int) -> dict[Path, str]:
    """Return the files of an audit that are neither pictures nor videos that can be decoded.

    Args:
        unreadable: Reasons by file, as `audit_pictures` returns them.
        max_pixels: Pixels of the largest frame that is decoded.
    """
    checked: dict[Path, str] = {}
    for path, reason in unreadable.items():
        if video_container(path) is None:
            checked[path] = reason
            continue
        try:
            load_frames(path, 1, max_pixels)
        except PictureError as error:
            checked[path] = str(error)
    return checked


def _listed_frames(listing: Path) -> list[Path]:
    """Read a list of frames, or return none if it is absent or damaged, or a frame is missing."""
    try:
        names = json.loads(listing.read_text(encoding="utf-8"))
        frames = [embedded_folder() / name[:2] / name for name in names]
    except (OSError, ValueError, TypeError):
        return []
    return frames if all(frame.is_file() for frame in frames) else []
