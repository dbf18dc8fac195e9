"""Decoding of pictures of every kind, and views."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.pictures import (
    encode_picture,
    gradient_picture,
    noise_picture,
    save_picture,
    write_bad_files,
)
from PIL import Image

from mmie.data.picture_audit import audit_pictures
from mmie.data.pictures import ImageTransform, PictureError, PictureTooLarge, load_picture, to_view


def difference(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, dtype=float) - np.asarray(other, dtype=float)).max())


@pytest.mark.parametrize(
    ("name", "mode", "tolerance"),
    [
        ("a.png", "RGB", 0),
        ("a.bmp", "RGB", 0),
        ("a.jpg", "RGB", 12),
        ("a.jpg", "CMYK", 12),
        ("a.tif", "CMYK", 1),
        ("a.tif", "LAB", 12),
        ("a.webp", "RGB", 20),
        ("a.gif", "P", 0),
        ("a.png", "P", 0),
        ("a.png", "RGBA", 0),
        ("a.png", "RGBX", 0),
    ],
)
def test_every_format_becomes_rgb(tmp_path, name, mode, tolerance):
    if mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.profileToProfile(gradient_picture(), *profiles, outputMode="LAB")
    else:
        picture = gradient_picture().convert("RGBA" if mode == "RGBX" else mode)
    loaded = load_picture(save_picture(tmp_path / name, picture))
    assert loaded.mode == "RGB"
    assert (
        difference(loaded, gradient_picture() if mode == "LAB" else picture.convert("RGB"))
        <= tolerance
    )


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_becomes_rgb(tmp_path, mode):
    grey = gradient_picture().convert(mode)
    assert (
        difference(
            load_picture(save_picture(tmp_path / "a.png", grey)), grey.convert("L").convert("RGB")
        )
        == 0
    )


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_deep_grey_is_scaled_not_clipped(tmp_path, kind):
    grey = np.arange(256).reshape(16, 16)
    deep = (grey / 255 if kind is np.float32 else grey * 257).astype(kind)
    loaded = load_picture(save_picture(tmp_path / "a.tif", Image.fromarray(deep)))
    assert (np.asarray(loaded) == grey[:, :, None]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = (
        gradient_picture()
        if orientation == 1
        else gradient_picture().transpose(Image.Transpose(undo[orientation]))
    )
    exif = Image.Exif()
    exif[0x0112] = orientation
    loaded = load_picture(save_picture(tmp_path / "a.png", stored, exif=exif))
    assert loaded.size == (60, 40)
    assert difference(loaded, gradient_picture()) == 0


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_data_is_ignored(tmp_path):
    path = save_picture(
        tmp_path / "a.jpg",
        gradient_picture(),
        exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x09" * 9,
    )
    assert load_picture(path).size == (60, 40)
    assert audit_pictures([path]) == {}


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_first_frame_of_an_animation_is_taken(tmp_path, name):
    frames = [Image.new("RGB", (60, 40), colour) for colour in ("white", "black", "red")]
    path = save_picture(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
    assert difference(load_picture(path), frames[0]) <= 2


def test_transparent_pixels_become_white(tmp_path):
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert np.asarray(load_picture(save_picture(tmp_path / "a.png", clear))).min() == 255
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30])
    assert (
        np.asarray(load_picture(save_picture(tmp_path / "b.png", palette, transparency=0))).min()
        == 255
    )


def test_loading_and_auditing_give_the_same_reasons(tmp_path):
    expected = write_bad_files(tmp_path / "bad")
    good = save_picture(tmp_path / "good.jpg", gradient_picture())
    for path, reason in expected.items():
        with pytest.raises(PictureError) as error:
            load_picture(path, max_pixels=50_000)
        assert str(error.value) == reason
    paths = [good, *expected, good]
    for workers in (1, 2, None):
        assert audit_pictures(paths, 50_000, workers) == expected
        assert list(audit_pictures(paths, 50_000, workers)) == list(expected)


def test_decompression_bombs_are_rejected_before_decoding(tmp_path, monkeypatch):
    path = save_picture(tmp_path / "bomb.png", Image.new("1", (4000, 4000)))
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(PictureError, match="more than 1000000 pixels"):
        load_picture(path, 1_000_000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(PictureError, match="more than 2000 pixels"):
        load_picture(path)


@pytest.mark.parametrize("size", [56, 112])
@pytest.mark.parametrize(("width", "height"), [(256, 256), (512, 256), (128, 320)])
def test_crop_equals_resizing_then_centre_cropping(width, height, size):
    picture = noise_picture(width, height)
    short = size * 256 // 224
    scale = short / min(width, height)
    wide, high = round(width * scale), round(height * scale)
    left, top = (wide - size) / 2, (high - size) / 2
    assert left == int(left)
    assert top == int(top)
    resized = picture.resize((wide, high), Image.Resampling.BICUBIC)
    expected = np.asarray(resized.crop((int(left), int(top), int(left) + size, int(top) + size)))
    view = to_view(picture, size, "crop")
    assert view.shape == (3, size, size)
    assert view.dtype == torch.uint8
    assert view.is_contiguous()
    assert np.abs(view.permute(1, 2, 0).numpy().astype(int) - expected.astype(int)).max() <= 1


def test_squash_takes_all_of_the_picture():
    view = to_view(gradient_picture(60, 40), 32, "squash")
    expected = np.asarray(gradient_picture(60, 40).resize((32, 32), Image.Resampling.BICUBIC))
    assert (view.permute(1, 2, 0).numpy() == expected).all()


def test_views_are_antialiased():
    stripes = Image.fromarray(
        np.tile(np.array([[[0] * 3, [255] * 3]], dtype=np.uint8), (512, 256, 1))
    )
    for mode in ("crop", "squash"):
        view = to_view(stripes, 32, mode).float()
        assert (view[:, 4:-4, 4:-4] - 127.5).abs().max() < 8


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5000), (5000, 1), (3, 2)])
def test_extreme_shapes_have_views(width, height):
    for mode in ("crop", "squash"):
        view = to_view(Image.new("RGB", (width, height), "red"), 64, mode)
        assert (view.flatten(1)[:, :1] == torch.tensor([[255], [0], [0]])).all()
        assert view.shape == (3, 64, 64)


def test_transform_decodes_and_resizes(tmp_path):
    file = save_picture(tmp_path / "a.png", noise_picture(60, 40))
    transform = ImageTransform(16, "squash")
    assert torch.equal(transform(file), to_view(load_picture(file), 16, "squash"))
    assert torch.equal(transform.to_view(transform.load(file)), transform(file))
    with pytest.raises(PictureTooLarge, match="more than 2399 pixels"):
        replace(transform, max_pixels=2399)(file)


def test_every_source_gives_the_same_picture(tmp_path):
    picture = noise_picture(60, 40)
    file = save_picture(tmp_path / "a.png", picture)
    for source in (file, str(file), file.read_bytes(), picture, np.asarray(picture)):
        assert difference(load_picture(source), picture) == 0


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3), (4, 6, 4)])
def test_arrays_of_one_three_or_four_channels_are_pictures(shape):
    loaded = load_picture(np.full(shape, 255, dtype=np.uint8))
    assert (loaded.mode, loaded.size) == ("RGB", (6, 4))
    assert np.asarray(loaded).min() == 255


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((4, 6, 2), dtype=np.uint8),
        np.zeros((4, 6, 3), dtype=np.float32),
        np.zeros(4, dtype=np.uint8),
        np.zeros((0, 6), dtype=np.uint8),
    ],
)
def test_other_arrays_are_rejected(values):
    with pytest.raises(PictureError, match=r"not a picture: an array of \w+ and shape"):
        load_picture(values)


def test_a_pillow_image_stays_open_and_unchanged():
    picture = gradient_picture().convert("RGBA")
    load_picture(picture)
    assert picture.mode == "RGBA"
    assert picture.getpixel((0, 0)) == (220, 30, 40, 255)
    with pytest.raises(PictureTooLarge):
        load_picture(picture, max_pixels=10)
    assert picture.getpixel((0, 0)) == (220, 30, 40, 255)


def test_formats_outside_the_list_are_not_decoded():
    content = encode_picture(gradient_picture(), "PCX")
    with pytest.raises(PictureError, match="not a picture"):
        load_picture(content)


@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_a_jpeg_that_is_reduced_while_it_is_decoded_gives_nearly_the_same_view(resize, tmp_path):
    transform = ImageTransform(64, resize)
    ramp = np.linspace(0, 255, 600, dtype=np.uint8)
    picture = Image.fromarray(np.stack([np.tile(ramp, (400, 1))] * 3, axis=2))  # 600 x 400
    picture.save(tmp_path / "wide.jpg", quality=95)
    whole = load_picture(tmp_path / "wide.jpg")
    reduced = load_picture(tmp_path / "wide.jpg", least_side=transform.least_side)
    assert whole.size == (600, 400)
    assert reduced.size == (150, 100)
    assert min(reduced.size) >= transform.least_side
    difference = transform.to_view(whole).int() - transform.to_view(reduced).int()
    assert difference.abs().max() <= 4


def test_other_pictures_are_decoded_whole(tmp_path):
    picture = Image.new("RGB", (600, 400), "red")
    picture.save(tmp_path / "wide.png")
    picture.save(tmp_path / "wide.jpg")
    assert load_picture(tmp_path / "wide.png", least_side=64).size == (600, 400)
    assert load_picture(tmp_path / "wide.jpg", least_side=300).size == (600, 400)
    with Image.open(tmp_path / "wide.jpg") as opened:
        assert load_picture(opened, least_side=64).size == (600, 400)
        assert opened.size == (600, 400)
