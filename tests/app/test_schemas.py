"""Pictures in base64."""

import pytest
from helpers.serving import as_base64
from pydantic import ValidationError

from mmie.app.schemas import PostIn


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_pictures_are_decoded(prefix):
    assert PostIn(text="a", image=prefix + as_base64(b"picture")).image == b"picture"


def test_pictures_may_be_null_or_absent():
    assert PostIn(text="a", image=None).image is None
    assert PostIn(text="a").image is None


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (7, "expected base64 or null"),
        ("a picture", "expected base64"),
        ("pictüre=", "expected base64"),
    ],
)
def test_other_values_are_refused(image, message):
    with pytest.raises(ValidationError, match=message):
        PostIn(text="a", image=image)
