"""Digests of the splits of a corpus, which tell one edition from another."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from mmie.data.embedded import is_embedded
from mmie.types import Post


def digest_posts(posts: Iterable[Post], root: Path) -> str:
    """Compute the SHA-256 of posts: texts, labels, contexts, and names and sizes of pictures.

    Pictures are not read. A picture that is missing differs from one that is there.

    Args:
        posts: Posts of a split, in their order.
        root: Folder of the corpus, which does not count.
    """
    digest = hashlib.sha256()
    for post in posts:
        content = {
            "id": post.id,
            "words": post.words,
            "context": post.context,
            "entities": list(map(asdict, post.entities)),
            "relations": list(map(asdict, post.relations)),
            "pictures": [_describe_picture(picture, root) for picture in (post.image, *post.crops)],
        }
        if post.more_images:
            further = [_describe_picture(picture, root) for picture in post.more_images]
            content["more_pictures"] = further
        digest.update(json.dumps(content, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def _describe_picture(picture: Path | None, root: Path) -> tuple[str, int] | None:
    """Return the name and the size in bytes of a picture, -1 for a missing file.

    The name is the path below the corpus's folder, or the file name, which is a digest, of a
    picture that the corpus holds as bytes.
    """
    if picture is None:
        return None
    try:
        size = picture.stat().st_size
    except OSError:
        size = -1
    name = picture.name if is_embedded(picture) else os.path.relpath(picture, root)
    return name, size
