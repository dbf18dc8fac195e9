"""What is handed over runs nothing, and no path leaves its folder."""

import contextlib
import json
import os
import pickle
import zipfile

import pytest
import torch
from helpers.command import run, tiny_options
from helpers.hostile import Payload, check_message, limited_examples, malicious_pickle, mutated
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig

from mmie.blocks.errors import WeightsUnavailable
from mmie.blocks.text_encoder import TextEncoder
from mmie.blocks.vision import VisualBackbone
from mmie.checkpoints import CheckpointError, read_checkpoint
from mmie.data.corpora.base import CorpusError
from mmie.data.corpora.crop_index import load_crop_index
from mmie.data.corpora.jsonl import JsonlCorpus
from mmie.data.corpora.mnre import MNRE
from mmie.data.corpora.twitter import Twitter2017
from mmie.data.encoding import WordTokenizer
from mmie.data.sources import BadPost, read_source
from mmie.data.tokenizer_files import TokenizerError
from mmie.grounding.detectors import build_detector
from mmie.grounding.index import from_pth
from mmie.inference import load_extractor
from mmie.methods.loading import load_method
from mmie.types import MmieError, Post


def raw(target) -> bytes:
    return malicious_pickle(target)


def zipped(target) -> bytes:
    """As ``torch.save`` writes today."""
    return _saved(target, True)


def legacy(target) -> bytes:
    """As it wrote before."""
    return _saved(target, False)


def _saved(target, zip_format: bool) -> bytes:
    file = target.with_name("saved")
    torch.save(
        {"mmie": {"schema": Payload(target)}, "a": ["b.jpg"]},
        file,
        _use_new_zipfile_serialization=zip_format,
    )
    return file.read_bytes()


def disguised(target) -> bytes:
    """A sound file whose pickle was exchanged."""
    file = target.with_name("sound")
    torch.save({"weight": torch.zeros(3)}, file)
    with (
        zipfile.ZipFile(file) as old,
        zipfile.ZipFile(target.with_name("new"), "w", zipfile.ZIP_STORED) as new,
    ):
        for name in old.namelist():
            new.writestr(
                name, malicious_pickle(target) if name.endswith("data.pkl") else old.read(name)
            )
    return target.with_name("new").read_bytes()


WRITERS = (raw, zipped, legacy, disguised)


@pytest.fixture(params=WRITERS, ids=lambda write: write.__name__)
def bait(request, tmp_path):
    """A file that would write another one if it were unpickled; that must not be there at the end."""
    target = tmp_path / "it_ran"
    assert pickle.loads(raw(target))  # the bait is alive
    target.unlink()
    file = tmp_path / "bait.pth"
    file.write_bytes(request.param(target))
    yield file
    assert not target.exists()


def test_checkpoints_run_nothing(bait):
    for load in (read_checkpoint, load_method, load_extractor):
        with pytest.raises(CheckpointError) as caught:
            load(bait)
        check_message(caught.value, bait)


def test_the_command_runs_nothing(bait, demo_root, tmp_path):
    options = tiny_options("text_only", demo_root, tmp_path / "run")
    for line in (
        ["test", *options, f"--ckpt_path={bait}"],
        ["fit", *options, f"--ckpt_path={bait}"],
        ["fit", *options, f"--model.init_args.init_from={bait}"],
        ["extract", "-", "--out=a.jsonl", f"--ner={bait}"],
        ["diagnose", f"--checkpoint={bait}"],
    ):
        ended = run(*line)
        assert ended.status in (1, 2)
        assert len(ended.err.splitlines()) == 1
        assert ended.err.startswith("mmie: ")


def test_indices_of_crops_run_nothing(bait, tmp_path):
    for read in (lambda: load_crop_index([bait]), lambda: from_pth(bait, "id")):
        with pytest.raises(CorpusError, match="cannot be loaded"):
            read()
    (tmp_path / "train.txt").write_text("IMGID:1\nAnn\tO\n")
    (tmp_path / "mnre_train.txt").write_text(
        "{'token': ['a', 'b'], 'h': {'pos': [0, 1]}, 't': {'pos': [1, 2]}, 'img_id': 'a.jpg', 'relation': 'x'}"
    )
    for corpus, name in ((Twitter2017, "twitter2017_train_dict.pth"), (MNRE, "mre_train_dict.pth")):
        (tmp_path / name).write_bytes(bait.read_bytes())
        with pytest.raises(CorpusError, match="cannot be loaded"):
            corpus(tmp_path).posts("train")


def test_weights_run_nothing(bait, tiny_bert, tmp_path):
    """Weights of encoders, backbones and detectors, where a folder brings them as a pickle."""
    folder = tmp_path / "model"
    AutoConfig.from_pretrained(tiny_bert).save_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(bait.read_bytes())
    with pytest.raises(WeightsUnavailable):
        TextEncoder(str(folder))
    (folder / "config.json").write_text(
        json.dumps({"architecture": "test_resnet", "num_classes": 10})
    )
    with pytest.raises(WeightsUnavailable):
        VisualBackbone(folder, pretrained=True)
    with pytest.raises(MmieError):
        build_detector(f"coco:{bait}", torch.device("cpu")).detect([], [])


@pytest.fixture
def outside(tmp_path):
    """A folder with links of every kind that lead out of it, and what must not be read there."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "a.txt").write_text("the secret")
    (secret / "a.jpg").write_bytes(b"the secret")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "folder").symlink_to(secret, target_is_directory=True)
    (inside / "link.jpg").symlink_to(secret / "a.jpg")
    (inside / "chain.jpg").symlink_to(inside / "link.jpg")
    (inside / "loop.jpg").symlink_to(inside / "loop.jpg")
    return inside


LEADING_OUT = [
    "link.jpg",
    "chain.jpg",
    "loop.jpg",
    "folder/a.jpg",
    "../secret/a.jpg",
    "/etc/passwd",
    "{secret}/a.jpg",
    "folder/../folder/a.jpg",
    "x/../../secret/a.jpg",
    "//etc/passwd",
    ".",
    "..",
    "./..",
    "",
]


@pytest.mark.parametrize("name", LEADING_OUT)
def test_no_picture_outside(outside, name):
    name = name.replace("{secret}", str(outside.parent / "secret"))
    lines = [
        json.dumps({"id": 1, "text": "a", key: value})
        for key, value in (("image", name), ("crops", [name]))
    ]
    (outside / "train.jsonl").write_text("\n".join(lines))
    (outside / "posts.csv").write_text(f"text,image\na,{name}\n")
    corpus = JsonlCorpus(outside, strict=False)
    with pytest.warns(UserWarning, match="2 malformed posts skipped"):
        assert corpus.posts("train") == []
    assert all(isinstance(item, BadPost) for item in read_source(str(outside / "train.jsonl")))
    if name:  # an empty cell is no picture
        assert all(isinstance(item, BadPost) for item in read_source(str(outside / "posts.csv")))


@pytest.mark.parametrize("name", ["..", "../a", "/etc/passwd", "a/../../b", "//etc/passwd"])
def test_no_picture_outside_the_published_layouts(tmp_path, name):
    (tmp_path / "train.txt").write_text(f"IMGID:{name}/x\nAnn\tO\n\nIMGID:1\nAnn\tO\n")
    torch.save({"1.jpg": [name], "0": [name]}, tmp_path / "twitter2017_train_dict.pth")
    corpus = Twitter2017(tmp_path, strict=False)
    with pytest.warns(UserWarning, match="malformed posts skipped"):
        assert all(
            post.image.is_relative_to(tmp_path) and not post.crops for post in corpus.posts("train")
        )


def test_folder_of_posts(outside):
    """Neither texts nor pictures are read through a link that leads out, and nothing waits for a pipe."""
    (outside / "1.txt").symlink_to(outside.parent / "secret" / "a.txt")
    (outside / "2.txt").write_text("a text")
    (outside / "2.jpg").symlink_to(outside.parent / "secret" / "a.jpg")
    os.mkfifo(outside / "3.txt")
    (outside / "4.txt").mkdir()
    (outside / "5.txt").symlink_to(outside / "absent")
    (outside / "6.txt").write_text("another text")
    items = list(read_source(str(outside)))
    assert [type(item) for item in items] == [BadPost] * 5 + [Post] + [
        BadPost
    ] * 3  # pictures alone are posts, too
    assert "secret" not in "".join(str(item) for item in items if isinstance(item, Post))


@pytest.mark.parametrize("name", ["..", "", ".", "../a.json", "/a.json", "a/b.json", "a\0", 3])
def test_files_of_a_tokenizer_stay_in_their_folder(name):
    with pytest.raises(TokenizerError):
        WordTokenizer.from_files({name: "{}"})


def test_files_of_a_tokenizer_are_texts(tiny_bert):
    files = WordTokenizer.from_source(tiny_bert).to_files()
    for wrong in (
        None,
        b"{}",
        "",
        "{",
        "[]",
        "null",
        '{"auto_map": {"AutoTokenizer": ["evil.Evil", null]}}',
    ):
        with pytest.raises(TokenizerError):
            WordTokenizer.from_files({**files, "tokenizer.json": wrong})


@pytest.fixture(scope="session")
def checkpoint(random_pair):
    return torch.load(random_pair["ner"], weights_only=True)


@limited_examples(50)
@given(choice=st.data(), part=st.sampled_from(["mmie", "MultimodalDataModule", "state_dict"]))
def test_checkpoints_that_say_something_else(checkpoint, tmp_path, choice, part):
    """Whatever a checkpoint claims, it loads or is refused in one line."""
    content = dict(checkpoint)
    if part == "state_dict":
        names = choice.draw(st.sets(st.sampled_from(sorted(content[part])), max_size=2))
        content[part] = {
            name: choice.draw(st.sampled_from([None, torch.zeros(0), tensor.double()]))
            if name in names
            else tensor
            for name, tensor in content[part].items()
        }
    else:
        files = content["MultimodalDataModule"]["tokenizer"]
        plain = {key: value for key, value in content[part].items() if key != "tokenizer"}
        content[part] = choice.draw(mutated(plain))
        if isinstance(content[part], dict) and part == "MultimodalDataModule":
            content[part]["tokenizer"] = files
    file = tmp_path / "a.ckpt"
    torch.save(content, file)
    with contextlib.suppress(MmieError):
        load_extractor(file).extract([Post(text="Jordan lands in Rome")])


@limited_examples(20)
@given(choice=st.data())
def test_damaged_checkpoints(random_pair, tmp_path, choice):
    content = bytearray(random_pair["ner"].read_bytes())
    for _ in range(choice.draw(st.integers(1, 6))):
        area = choice.draw(
            st.sampled_from([3000, len(content)])
        )  # the pickle lies at the beginning
        content[choice.draw(st.integers(0, area - 1))] = choice.draw(st.integers(0, 255))
    file = tmp_path / "a.ckpt"
    file.write_bytes(
        bytes(content[: choice.draw(st.just(len(content)) | st.integers(0, len(content)))])
    )
    try:
        read_checkpoint(file)
    except CheckpointError as error:
        check_message(error, file)
