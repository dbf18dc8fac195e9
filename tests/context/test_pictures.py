"""Pictures that models receive."""

from helpers.pictures import gradient_picture, save_picture

from mmie.context.pictures import readable_pictures, scale_down, to_data_url
from mmie.data.pictures import load_picture
from mmie.types import Post


def test_the_longer_side_is_limited():
    assert scale_down(gradient_picture(60, 40), 30).size == (30, 20)
    assert scale_down(gradient_picture(40, 60), 30).size == (20, 30)
    assert scale_down(gradient_picture(1000, 2), 100).size == (100, 1)


def test_small_pictures_stay():
    picture = gradient_picture(60, 40)
    assert scale_down(picture, 60) is picture


def test_a_data_url_holds_the_picture():
    url = to_data_url(gradient_picture(60, 40))
    assert url.startswith("data:image/jpeg;base64,")
    assert load_picture(url).size == (60, 40)


def test_all_readable_pictures_of_posts_are_listed(tmp_path):
    first = save_picture(tmp_path / "a.png", gradient_picture())
    second = save_picture(tmp_path / "b.png", gradient_picture(9, 9))
    post = Post(image=first, more_images=(second, tmp_path / "missing.png"))
    assert set(readable_pictures([post, Post()])) == {first, second}
