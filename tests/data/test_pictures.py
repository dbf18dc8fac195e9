"""Pictures of every kind become the same views; bad files are named, once, with a reason."""

import hashlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmie.data import pictures
from mmie.data.pictures import PictureError, audit_pictures, load_picture, picture_digests, to_view


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MMIE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pictures.json"


def scene(width: int = 60, height: int = 40) -> Image.Image:
    """Red above blue, smooth in between: survives lossy formats, and shows which way is up."""
    down = np.linspace(0, 1, height)[:, None, None]  # (height, 1, 1)
    pixels = (1 - down) * np.array([220, 30, 40]) + down * np.array([20, 50, 210])  # (height, 1, 3)
    return Image.fromarray(np.broadcast_to(pixels, (height, width, 3)).astype(np.uint8).copy())


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    )


def difference(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, dtype=float) - np.asarray(other, dtype=float)).max())


def saved(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)
    return path


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
def test_every_kind_becomes_rgb(tmp_path, name, mode, tolerance):
    if mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.profileToProfile(scene(), *profiles, outputMode="LAB")
    else:
        picture = scene().convert("RGBA" if mode == "RGBX" else mode)
    loaded = load_picture(saved(tmp_path / name, picture))
    assert loaded.mode == "RGB"
    assert difference(loaded, scene() if mode == "LAB" else picture.convert("RGB")) <= tolerance


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_becomes_rgb(tmp_path, mode):
    grey = scene().convert(mode)
    assert (
        difference(load_picture(saved(tmp_path / "a.png", grey)), grey.convert("L").convert("RGB"))
        == 0
    )


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_deep_grey_is_scaled_not_clipped(tmp_path, kind):
    grey = np.arange(256).reshape(16, 16)
    deep = (grey / 255 if kind is np.float32 else grey * 257).astype(kind)
    loaded = load_picture(saved(tmp_path / "a.tif", Image.fromarray(deep)))
    assert (np.asarray(loaded) == grey[:, :, None]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = scene() if orientation == 1 else scene().transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    loaded = load_picture(saved(tmp_path / "a.png", stored, exif=exif))
    assert loaded.size == (60, 40)
    assert difference(loaded, scene()) == 0


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_is_no_reason_to_refuse(tmp_path):
    path = saved(
        tmp_path / "a.jpg", scene(), exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x09" * 9
    )
    assert load_picture(path).size == (60, 40)
    assert audit_pictures([path]) == {}


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_first_frame_of_animations(tmp_path, name):
    frames = [Image.new("RGB", (60, 40), colour) for colour in ("white", "black", "red")]
    path = saved(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
    assert difference(load_picture(path), frames[0]) <= 2


def test_transparent_is_white(tmp_path):
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert np.asarray(load_picture(saved(tmp_path / "a.png", clear))).min() == 255
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30])
    assert np.asarray(load_picture(saved(tmp_path / "b.png", palette, transparency=0))).min() == 255


def jpeg(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=95)
    return stream.getvalue()


def bad_files(folder: Path) -> dict[Path, str]:
    """Files that are no usable pictures, with the reason expected."""
    folder.mkdir(exist_ok=True)
    whole = jpeg(noise(200, 200))
    stream = io.BytesIO()
    noise(50, 50).save(stream, "PNG")
    png = stream.getvalue()
    contents = {
        "half.jpg": (whole[: len(whole) // 2], "truncated"),
        "almost.jpg": (whole[:-200], "truncated"),
        "half.png": (png[: len(png) // 2], "truncated"),
        "garbled.png": (png[:60] + bytes(40) + png[100:], "truncated"),
        "empty.jpg": (b"", "not a picture"),
        "text.jpg": (b"<html>Image Not Found</html>", "not a picture"),
        "large.png": (None, "more than 50000 pixels"),
    }
    expected = {}
    for name, (content, reason) in contents.items():
        if content is None:
            saved(folder / name, Image.new("L", (501, 100)))
        else:
            (folder / name).write_bytes(content)
        expected[folder / name] = reason
    (folder / "folder.jpg").mkdir(exist_ok=True)
    return {**expected, folder / "folder.jpg": "not a picture", folder / "gone.jpg": "missing"}


def test_bad_files_have_one_reason_for_loading_and_auditing(tmp_path):
    expected = bad_files(tmp_path / "bad")
    good = saved(tmp_path / "good.jpg", scene())
    for path, reason in expected.items():
        with pytest.raises(PictureError) as error:
            load_picture(path, max_pixels=50_000)
        assert str(error.value) == reason
    paths = [good, *expected, good]
    for workers in (1, 2, None):
        assert audit_pictures(paths, 50_000, workers) == expected
        assert list(audit_pictures(paths, 50_000, workers)) == list(expected)


def test_names_that_cannot_be_files_are_missing():
    for path in (Path("a" * 5000), Path("x\0y.jpg")):
        assert audit_pictures([path]) == {path: "missing"}


def test_decompression_bombs_are_refused_undecoded(tmp_path, monkeypatch):
    path = saved(tmp_path / "bomb.png", Image.new("1", (4000, 4000)))
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(PictureError, match="more than 1000000 pixels"):
        load_picture(path, 1_000_000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(PictureError, match="more than 2000 pixels"):
        load_picture(path)


def test_audit_decodes_every_file_once_between_runs(tmp_path, monkeypatch, cache):
    good, bad = saved(tmp_path / "good.jpg", scene()), tmp_path / "bad.jpg"
    bad.write_bytes(b"junk")
    opened = []
    real = pictures._opened
    monkeypatch.setattr(
        pictures, "_opened", lambda path, limit: opened.append(path) or real(path, limit)
    )
    for _ in range(2):
        assert audit_pictures([good, bad, good]) == {bad: "not a picture"}
    assert sorted(opened) == [bad, good]
    assert audit_pictures([good], max_pixels=10) == {good: "more than 10 pixels"}
    saved(bad, scene())
    assert audit_pictures([good, bad]) == {}
    assert sorted(opened) == [bad, bad, good]
    assert sorted(json.loads(cache.read_text())) == [str(bad), str(good)]


def test_digests_name_the_content_of_readable_files(tmp_path, monkeypatch):
    good, bad = saved(tmp_path / "good.jpg", scene()), tmp_path / "bad.jpg"
    bad.write_bytes(b"junk")
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(good.read_bytes())
    expected = hashlib.sha256(good.read_bytes()).hexdigest()
    assert audit_pictures([good]) == {}
    real = pictures._opened
    monkeypatch.setattr(pictures, "_opened", lambda path, limit: path != good and real(path, limit))
    assert picture_digests([good, bad, copy, tmp_path / "missing.jpg"]) == {
        good: expected,
        copy: expected,
    }
    assert picture_digests([good], max_pixels=10) == {}


def test_limits_are_not_remembered(tmp_path):
    large = saved(tmp_path / "large.png", scene())
    assert audit_pictures([large], max_pixels=10) == {large: "more than 10 pixels"}
    assert audit_pictures([large]) == {}
    large.write_bytes(large.read_bytes()[:-30])
    assert audit_pictures([large], max_pixels=10) == {large: "more than 10 pixels"}
    assert audit_pictures([large]) == {large: "truncated"}


def test_missing_files_are_not_remembered(tmp_path, cache):
    path = tmp_path / "late.jpg"
    assert audit_pictures([path]) == {path: "missing"}
    assert not cache.exists()
    saved(path, scene())
    assert audit_pictures([path]) == {}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "7", '{"a": 1}', '{"a": [1, 2]}', '{"a": [1, 2, 3, 4]}']
)
def test_a_broken_memory_is_ignored(tmp_path, cache, content):
    cache.parent.mkdir()
    cache.write_text(content)
    good = saved(tmp_path / "good.jpg", scene())
    assert audit_pictures([good]) == {}
    assert list(json.loads(cache.read_text())) == [str(good)]
    assert os.listdir(cache.parent) == [cache.name]


def test_a_memory_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MMIE_CACHE", str(tmp_path / "file" / "cache"))
    assert audit_pictures([saved(tmp_path / "good.jpg", scene())]) == {}


def test_many_pictures_show_progress(tmp_path, capsys):
    assert len(audit_pictures([tmp_path / f"{i}.jpg" for i in range(600)])) == 600
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("size", [56, 112])
@pytest.mark.parametrize(("width", "height"), [(256, 256), (512, 256), (128, 320)])
def test_crop_is_resize_then_centre_crop(width, height, size):
    picture = noise(width, height)
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


def test_squash_keeps_all_of_the_picture():
    view = to_view(scene(60, 40), 32, "squash")
    expected = np.asarray(scene(60, 40).resize((32, 32), Image.Resampling.BICUBIC))
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
