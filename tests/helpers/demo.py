"""Readings of demo corpora that their tests share."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from mmie.types import NO_RELATION, Post

SMALL = {"train": 48, "valid": 40, "test": 40}
"""Sizes of a corpus that is written in a moment."""


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder by relative path."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def decided_by(post: Post) -> str:
    """What decides the labels of a post, by the end of its id."""
    return post.id.split("-")[1]


def group_by_words(posts: Iterable[Post]) -> dict[tuple[str, ...], list[Post]]:
    """Posts by their words."""
    groups = defaultdict(list)
    for post in posts:
        groups[post.words].append(post)
    return groups


def gold_by_key(
    key: Callable[[Post], Hashable], posts: Sequence[Post]
) -> dict[str, list[tuple[Hashable, str | None]]]:
    """Keys and gold of both tasks: of every entity, and of every post's relation (None if none)."""
    entities = [((key(post), e.start, e.end), e.type) for post in posts for e in post.entities]
    labels = [
        (key(post), r.label if r.label != NO_RELATION else None)
        for post in posts
        for r in post.relations
    ]
    return {"ner": entities, "re": labels}


def best_f1(items: Iterable[tuple[Hashable, str | None]]) -> float:
    """Best F1 of any function of the keys, given pairs of key and gold.

    For each k the k keys with the largest shares of hits are predicted, and the best k is taken.
    """
    predictions = defaultdict(Counter)
    for key, prediction in items:
        predictions[key][prediction] += 1
    hits_and_sizes = [
        (max(found[a] for a in found if a) if any(found) else 0, found.total())
        for found in predictions.values()
    ]
    hits_and_sizes.sort(key=lambda pair: -pair[0] / pair[1])
    gold = sum(prediction is not None for _, prediction in items)
    hits, sizes = np.cumsum(hits_and_sizes, axis=0).T
    return (2 * hits / (gold + sizes)).max()


def random_features(pictures: Sequence[Image.Image], seed: int = 0) -> np.ndarray:
    """Pooled features (pictures, width) of a frozen backbone with random weights."""
    torch.manual_seed(seed)
    backbone = timm.create_model("test_resnet", pretrained=False, features_only=True).eval()
    with torch.no_grad():
        return backbone((to_pixels(pictures) - 0.45) / 0.225)[-1].mean((2, 3)).numpy()


def post_features(posts: Sequence[Post]) -> np.ndarray:
    """Pooled features (posts, width) of the posts' pictures."""
    return random_features([Image.open(post.image) for post in posts])


def to_pixels(pictures: Sequence[Image.Image]) -> torch.Tensor:
    """Pictures as (pictures, 3, height, width) from 0 to 1."""
    stacked = np.stack([np.asarray(picture) for picture in pictures])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255


def linear_probe() -> Pipeline:
    """A linear classifier of standardised features."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
