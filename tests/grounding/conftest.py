"""Pictures, and posts with readable and unreadable ones."""

import pytest

from mmie.data.pictures import load_picture
from mmie.types import Post


@pytest.fixture(scope="session")
def pictures(photographs):
    """The photographs in memory: an astronaut, a cat, a cup of coffee and a rocket."""
    return [load_picture(file) for file in photographs.values()]


@pytest.fixture
def posts(photographs, tmp_path):
    """Seven posts with three distinct readable pictures.

    The second and the third post have the same picture under different names. The last three have a
    damaged picture, a missing one, and none.
    """
    copy, damaged = tmp_path / "copy.png", tmp_path / "damaged.jpg"
    copy.write_bytes(photographs["coffee"].read_bytes())
    damaged.write_bytes(photographs["coffee"].read_bytes()[:500])
    return [
        Post("0", ("Eileen", "Collins"), photographs["astronaut"]),
        Post("1", ("coffee",), photographs["coffee"]),
        Post("2", ("coffee",), copy),
        Post("3", ("coffee",), photographs["rocket"]),
        Post("4", ("x",), damaged),
        Post("5", ("y",), tmp_path / "no.jpg"),
        Post("6", ("nothing",)),
    ]
