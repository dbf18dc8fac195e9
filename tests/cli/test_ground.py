"""``mmie ground`` from the command line to the corpora that read its crops."""

import json

import pytest
import torch

from mmie.cli.ground import ground_command
from mmie.cli.parsing import UsageError
from mmie.data import MNRE, JsonlCorpus, Twitter2017
from mmie.data.sources import SourceError, read_source
from mmie.grounding.errors import GroundingError
from mmie.grounding.index import read_index
from mmie.inference.jobs.job_files import JobError
from mmie.utils.devices import DeviceError

LINES = [
    {
        "id": "a",
        "text": "Ann sees a cat.",
        "image": "pictures/a.png",
        "entities": [{"start": 0, "end": 3, "type": "PER"}],
    },
    {"id": "b", "words": ["no", "picture"], "crops": ["pictures/a.png"]},
    {"id": "c", "words": ["missing"], "image": "pictures/none.png"},
]


@pytest.fixture
def folder(tmp_path, photographs):
    """A folder of posts and their pictures."""
    folder = tmp_path / "folder"
    (folder / "pictures").mkdir(parents=True)
    (folder / "pictures" / "a.png").write_bytes(photographs["chelsea"].read_bytes())
    (folder / "posts.jsonl").write_text("\n".join(map(json.dumps, LINES)), encoding="utf-8")
    return folder


@pytest.fixture
def twitter(tmp_path, photographs):
    root = tmp_path / "twitter2017"
    (root / "twitter2017_images").mkdir(parents=True)
    (root / "twitter2017_images" / "7.jpg").write_bytes(photographs["rocket"].read_bytes())
    (root / "valid.txt").write_text(
        "IMGID:7\nFalcon\tB-MISC\n9\tI-MISC\n\nIMGID:8\nno\tO\n", encoding="utf-8"
    )
    return root


@pytest.fixture
def mnre(tmp_path, photographs):
    root = tmp_path / "mnre"
    (root / "img_org" / "val").mkdir(parents=True)
    (root / "img_org" / "val" / "x.jpg").write_bytes(photographs["astronaut"].read_bytes())
    head, tail = {"name": "Eileen Collins", "pos": [0, 2]}, {"name": "NASA", "pos": [3, 4]}
    line = {
        "token": ["Eileen", "Collins", "of", "NASA"],
        "img_id": "x.jpg",
        "relation": "/per/org/member_of",
    }
    lines = [{**line, "h": head, "t": tail}, {**line, "h": tail, "t": head}]
    (root / "mnre_val.txt").write_text("\n".join(map(str, lines)), encoding="utf-8")
    return root


def ground(*options: object) -> None:
    """Run ``mmie ground`` with the detector that needs no weights."""
    ground_command([*map(str, options), "--detector", "center"])


@pytest.mark.parametrize(
    ("name", "ids"), [("pictures", ["a", "b"]), ("table.csv", ["2"]), ("bare.jsonl", ["1"])]
)
def test_posts_in_each_kind_of_source(folder, tmp_path, capsys, name, ids):
    picture = (folder / "pictures" / "a.png").read_bytes()
    (folder / "pictures" / "b.png").write_bytes(picture)
    (folder / "pictures" / "b.txt").write_text("Ann sees a cat.")
    (folder / "table.csv").write_text("text,image\nAnn sees a cat.,pictures/a.png\n")
    (folder / "bare.jsonl").write_text('{"text": "Ann sees a cat.", "image": "pictures/a.png"}\n')
    out = tmp_path / "out"
    ground("--posts", folder / name, "--out", out)
    file = f"{name.partition('.')[0]}.jsonl"
    entries = read_index(out / "crops" / file)
    assert [(entry.id, len(entry.crops)) for entry in entries] == [(i, 3) for i in ids]
    assert len((out / file).read_text().splitlines()) == 1, "posts without words are left out"
    (post,) = read_source(str(out / file))
    assert len(post.crops) == 3


def test_a_source_without_posts_is_refused(tmp_path):
    (tmp_path / "none.jsonl").touch()
    with pytest.raises(GroundingError, match=r"none\.jsonl: expected posts, found none"):
        ground("--posts", tmp_path / "none.jsonl", "--out", tmp_path / "out")
    assert not (tmp_path / "out" / "crops").exists()


def test_written_posts_are_a_corpus(folder, tmp_path, capsys):
    out = tmp_path / "out"
    ground("--posts", folder / "posts.jsonl", "--out", out, "--num_crops", 2)
    printed = capsys.readouterr().out
    assert "unreadable pictures (1)" in printed
    assert "none.png: missing" in printed
    files = [str(out / "posts.jsonl"), str(out / "crops" / "posts.jsonl")]
    assert printed.splitlines()[-2:] == files
    (out / "posts.jsonl").rename(out / "train.jsonl")
    posts = JsonlCorpus(out).posts("train")
    assert [len(post.crops) for post in posts] == [2, 0, 0]
    assert all(crop.is_file() for crop in posts[0].crops)
    assert posts[0].image.read_bytes() == (folder / "pictures" / "a.png").read_bytes()
    assert (posts[0].words, posts[0].entities[0].type) == (("Ann", "sees", "a", "cat", "."), "PER")
    assert posts[2].image is None


def test_pictures_inside_the_folder_are_not_copied(folder):
    (folder / "posts.jsonl").rename(folder / "raw.json")
    with pytest.raises(SourceError, match="found none"):
        ground("--posts", folder / "posts.jsonl", "--out", folder)
    ground("--posts", folder / "raw.json", "--out", folder)
    first = json.loads((folder / "raw.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert first["image"] == "pictures/a.png"
    assert not (folder / "images").exists()


def test_source_is_not_replaced(folder):
    with pytest.raises(GroundingError, match="would be written over"):
        ground("--posts", folder / "posts.jsonl", "--out", folder)


def test_posts_of_other_origin_are_replaced_only_with_overwrite(folder, tmp_path):
    file = tmp_path / "out" / "posts.jsonl"
    file.parent.mkdir()
    file.write_text("precious", encoding="utf-8")
    options = ["--posts", folder / "posts.jsonl", "--out", file.parent]
    with pytest.raises(GroundingError, match="was not written by mmie ground"):
        ground(*options)
    assert file.read_text(encoding="utf-8") == "precious"
    ground(*options, "--overwrite")
    ground(*options)
    lines = file.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["a", "b", "c"]


def test_unknown_device_is_one_line(folder, tmp_path):
    with pytest.raises(DeviceError, match="device 'abacus'"):
        ground("--posts", folder / "posts.jsonl", "--out", tmp_path, "--device", "abacus")


def test_twitter_corpus_reads_its_crops(twitter):
    options = ["--corpus", "Twitter2017", "--corpus.root", twitter, "--split", "valid"]
    ground(*options)
    first, second = Twitter2017(twitter).posts("valid")
    assert len(first.crops) == 3
    assert all(crop.is_file() for crop in first.crops)
    assert second.crops == ()
    (entry,) = read_index(twitter / "twitter2017_val_dict.jsonl")
    assert (entry.id, entry.image) == ("7", "twitter2017_images/7.jpg")
    ground(*options, "--num_crops", 1)
    assert len(Twitter2017(twitter).posts("valid")[0].crops) == 1


def test_phrases_of_mnre_are_heads_and_tails(mnre, tiny_owlv2):
    corpus = ["--corpus", "MNRE", "--corpus.root", str(mnre), "--split", "valid"]
    # scores of random weights are below the default threshold
    detector = ["--detector", str(tiny_owlv2), "--device", "cpu", "--threshold", "0"]
    ground_command([*corpus, *detector])
    entries = read_index(mnre / "mre_dev_dict.jsonl")
    assert [entry.phrases for entry in entries] == [
        ("Eileen Collins", "NASA"),
        ("NASA", "Eileen Collins"),
    ]
    assert {type(key) for key in torch.load(mnre / "mre_dev_dict.pth", weights_only=True)} == {int}
    posts = MNRE(mnre).posts("valid")
    assert [len(post.crops) for post in posts] == [len(entry.crops) for entry in entries]
    assert all(crop.is_file() for post in posts for crop in post.crops)
    assert posts[0].crops


def test_published_index_is_replaced_only_with_overwrite(twitter):
    published = twitter / "twitter2017_val_dict.pth"
    torch.save({"7.jpg": ["original.jpg"]}, published)
    options = ["--corpus", "Twitter2017", "--corpus.root", twitter, "--split", "valid"]
    with pytest.raises(GroundingError, match="was not written by mmie ground"):
        ground(*options)
    assert torch.load(published, weights_only=True) == {"7.jpg": ["original.jpg"]}
    ground(*options, "--overwrite")
    assert len(torch.load(published, weights_only=True)["7.jpg"]) == 3


def test_convert_to_either_form(tmp_path, capsys):
    first, index, second = tmp_path / "a.pth", tmp_path / "a.jsonl", tmp_path / "b.pth"
    torch.save({0: ["x.jpg"]}, first)
    ground_command(["convert", str(first), str(index), "--key", "id"])
    ground_command(["convert", str(index), str(second), "--key", "id"])
    assert capsys.readouterr().out.splitlines() == [str(index), str(second)]
    assert torch.load(second, weights_only=True) == {0: ["x.jpg"]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--detector", "center"], "either --posts FILE or --corpus CLASS"),
        (["--posts", "x.jsonl", "--detector", "center"], "out: given neither"),
        (["--posts", "x.jsonl", "--out", "y"], "detector"),
        (["--posts", "x.jsonl", "--detector", "center", "--phrases", "verbs"], "phrases: expected"),
        (["--posts", "x.jsonl", "--detector", "center", "--num_crops", "0"], "num_crops: "),
        (["convert", "a.pth", "b.pth"], "expected a .pth and a .jsonl"),
        (["convert", "a.pth"], "target"),
    ],
)
def test_wrong_options_are_one_line(arguments, message):
    with pytest.raises(UsageError) as error:
        ground_command(arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_convert_replaces_no_file_unasked(tmp_path):
    index, published = tmp_path / "a.jsonl", tmp_path / "a.pth"
    index.write_text("")
    published.write_text("mine")
    with pytest.raises(JobError, match="is there already"):
        ground_command(["convert", str(index), str(published)])
    assert published.read_text() == "mine"
    ground_command(["convert", str(index), str(published), "--overwrite"])
    assert published.read_bytes() != b"mine"
