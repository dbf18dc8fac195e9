"""``mmie ground``, and that what it writes is read as any corpus is."""

import json

import pytest
import torch

from mmie.cli.ground import ground_command
from mmie.cli.parsing import UsageError
from mmie.data import MNRE, JsonlCorpus, Twitter2017
from mmie.data.sources import SourceError, read_source
from mmie.grounding.detection import GroundingError
from mmie.grounding.index import read_index

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
def own(tmp_path, photographs):
    """Posts of one's own beside their pictures."""
    folder = tmp_path / "own"
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


def test_any_collection_of_pictures(own, tmp_path, capsys):
    (own / "pictures" / "told.png").write_bytes((own / "pictures" / "a.png").read_bytes())
    (own / "pictures" / "told.txt").write_text("Ann sees a cat.")
    (own / "table.csv").write_text("text,image\nAnn sees a cat.,pictures/a.png\n")
    (own / "bare.jsonl").write_text('{"text": "Ann sees a cat.", "image": "pictures/a.png"}\n')
    for name, ids, told in (
        ("pictures", ["a", "told"], 1),
        ("table.csv", ["2"], 1),
        ("bare.jsonl", ["1"], 1),
    ):
        out = tmp_path / "out" / name
        ground_command(["--posts", str(own / name), "--out", str(out), "--detector", "center"])
        file = f"{name.partition('.')[0]}.jsonl"
        assert [(entry.id, len(entry.crops)) for entry in read_index(out / "crops" / file)] == [
            (i, 3) for i in ids
        ]
        assert len((out / file).read_text().splitlines()) == told
        assert len(next(iter(read_source(str(out / file)))).crops) == 3


def test_own_posts_make_a_corpus(own, tmp_path, capsys):
    out = tmp_path / "out"
    ground_command(
        [
            "--posts",
            str(own / "posts.jsonl"),
            "--out",
            str(out),
            "--detector",
            "center",
            "--num_crops",
            "2",
        ]
    )
    printed = capsys.readouterr().out
    assert "unreadable pictures (1)" in printed
    assert "none.png: missing" in printed
    assert printed.splitlines()[-2:] == [
        str(out / "posts.jsonl"),
        str(out / "crops" / "posts.jsonl"),
    ]
    (out / "posts.jsonl").rename(out / "train.jsonl")
    posts = JsonlCorpus(out).posts("train")
    assert [len(post.crops) for post in posts] == [2, 0, 0]
    assert all(crop.is_file() for crop in posts[0].crops)
    assert posts[0].image.read_bytes() == (own / "pictures" / "a.png").read_bytes()
    assert (posts[0].words, posts[0].entities[0].type) == (("Ann", "sees", "a", "cat", "."), "PER")
    assert posts[2].image is None


def test_pictures_inside_the_folder_stay_where_they_are(own):
    (own / "posts.jsonl").rename(own / "raw.json")
    with pytest.raises(SourceError, match="found none"):
        ground_command(
            ["--posts", str(own / "posts.jsonl"), "--out", str(own), "--detector", "center"]
        )
    ground_command(["--posts", str(own / "raw.json"), "--out", str(own), "--detector", "center"])
    first = json.loads((own / "raw.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert first["image"] == "pictures/a.png"
    assert not (own / "images").exists()


def test_the_posts_are_not_written_over(own):
    with pytest.raises(GroundingError, match="would be written over"):
        ground_command(
            ["--posts", str(own / "posts.jsonl"), "--out", str(own), "--detector", "center"]
        )


def test_other_posts_are_not_written_over(own, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "posts.jsonl").write_text("precious", encoding="utf-8")
    arguments = [
        "--posts",
        str(own / "posts.jsonl"),
        "--out",
        str(tmp_path / "out"),
        "--detector",
        "center",
    ]
    with pytest.raises(GroundingError, match="was not written by mmie ground"):
        ground_command(arguments)
    assert (tmp_path / "out" / "posts.jsonl").read_text(encoding="utf-8") == "precious"
    ground_command([*arguments, "--overwrite"])
    ground_command(arguments)
    assert [
        post["id"]
        for post in map(json.loads, (tmp_path / "out" / "posts.jsonl").open(encoding="utf-8"))
    ] == [
        "a",
        "b",
        "c",
    ]


def test_twitter_finds_its_crops(twitter):
    arguments = [
        "--corpus",
        "Twitter2017",
        "--corpus.root",
        str(twitter),
        "--split",
        "valid",
        "--detector",
        "center",
    ]
    ground_command(arguments)
    first, second = Twitter2017(twitter).posts("valid")
    assert len(first.crops) == 3
    assert all(crop.is_file() for crop in first.crops)
    assert second.crops == ()
    (entry,) = read_index(twitter / "twitter2017_val_dict.jsonl")
    assert (entry.id, entry.image) == ("7", "twitter2017_images/7.jpg")
    ground_command([*arguments, "--num_crops", "1"])
    assert len(Twitter2017(twitter).posts("valid")[0].crops) == 1


def test_mnre_is_asked_for_heads_and_tails(mnre, tiny_owlv2):
    arguments = [
        "--corpus",
        "MNRE",
        "--corpus.root",
        str(mnre),
        "--split",
        "valid",
        "--detector",
        str(tiny_owlv2),
    ]
    ground_command(
        [*arguments, "--device", "cpu", "--threshold", "0"]
    )  # random weights are sure of nothing
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


def test_a_published_index_is_not_written_over(twitter):
    published = twitter / "twitter2017_val_dict.pth"
    torch.save({"7.jpg": ["original.jpg"]}, published)
    arguments = [
        "--corpus",
        "Twitter2017",
        "--corpus.root",
        str(twitter),
        "--split",
        "valid",
        "--detector",
        "center",
    ]
    with pytest.raises(GroundingError, match="was not written by mmie ground"):
        ground_command(arguments)
    assert torch.load(published, weights_only=True) == {"7.jpg": ["original.jpg"]}
    ground_command([*arguments, "--overwrite"])
    assert len(torch.load(published, weights_only=True)["7.jpg"]) == 3


def test_indices_convert(tmp_path, capsys):
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
    with pytest.raises(UsageError) as raised:
        ground_command(arguments)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
