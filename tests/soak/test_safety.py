"""Foreign files run no code, and no path leaves its folder."""

import contextlib
import json
import os
import pickle
import zipfile
from functools import partial

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

pytestmark = pytest.mark.slow


def plain_file(target) -> bytes:
    """Return a pickle that writes the target."""
    return malicious_pickle(target)


def torch_file(target, zipped: bool) -> bytes:
    """Return a file of ``torch.save`` that writes the target.

    Args:
        target: File to write.
        zipped: Today's format, which is a zip archive, or the old one.
    """
    file = target.with_name("saved")
    content = {"mmie": {"schema": Payload(target)}, "a": ["b.jpg"]}
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.read_bytes()


def manipulated_file(target) -> bytes:
    """Return a valid file of ``torch.save`` whose pickle was replaced."""
    valid, manipulated = target.with_name("valid"), target.with_name("manipulated")
    torch.save({"weight": torch.zeros(3)}, valid)
    with zipfile.ZipFile(valid) as source, zipfile.ZipFile(manipulated, "w") as copy:
        for name in source.namelist():
            content = source.read(name)
            copy.writestr(name, malicious_pickle(target) if name.endswith("data.pkl") else content)
    return manipulated.read_bytes()


WRITERS = {
    "plain": plain_file,
    "zipped": partial(torch_file, zipped=True),
    "legacy": partial(torch_file, zipped=False),
    "manipulated": manipulated_file,
}


@pytest.fixture(params=WRITERS)
def malicious_file(request, tmp_path):
    """File that would write another one if it were unpickled, which must not happen in a test."""
    target = tmp_path / "it_ran"
    pickle.loads(plain_file(target))
    assert target.exists(), "the pickle is harmless"
    target.unlink()
    file = tmp_path / "malicious.pth"
    file.write_bytes(WRITERS[request.param](target))
    yield file
    assert not target.exists()


def test_checkpoints_run_nothing(malicious_file):
    for load in (read_checkpoint, load_method, load_extractor):
        with pytest.raises(CheckpointError) as caught:
            load(malicious_file)
        check_message(caught.value, malicious_file)


def test_the_command_runs_nothing(malicious_file, demo_root, tmp_path):
    options = tiny_options("text_only", demo_root, tmp_path / "run")
    for line in (
        ["test", *options, f"--ckpt_path={malicious_file}"],
        ["fit", *options, f"--ckpt_path={malicious_file}"],
        ["fit", *options, f"--model.init_args.init_from={malicious_file}"],
        ["extract", "-", "--out=a.jsonl", f"--ner={malicious_file}"],
        ["diagnose", f"--checkpoint={malicious_file}"],
    ):
        outcome = run(*line)
        assert outcome.status in (1, 2)
        assert len(outcome.err.splitlines()) == 1
        assert outcome.err.startswith("mmie: ")


def test_crop_indices_run_nothing(malicious_file, tmp_path):
    with pytest.raises(CorpusError, match="cannot be loaded"):
        load_crop_index([malicious_file])
    with pytest.raises(CorpusError, match="cannot be loaded"):
        from_pth(malicious_file, "id")
    (tmp_path / "train.txt").write_text("IMGID:1\nAnn\tO\n")
    instance = {
        "token": ["a", "b"],
        "h": {"pos": [0, 1]},
        "t": {"pos": [1, 2]},
        "img_id": "a.jpg",
        "relation": "x",
    }
    (tmp_path / "mnre_train.txt").write_text(repr(instance))
    for corpus, name in ((Twitter2017, "twitter2017_train_dict.pth"), (MNRE, "mre_train_dict.pth")):
        (tmp_path / name).write_bytes(malicious_file.read_bytes())
        with pytest.raises(CorpusError, match="cannot be loaded"):
            corpus(tmp_path).posts("train")


def test_weights_run_nothing(malicious_file, tiny_bert, tmp_path):
    """Folders of encoders and backbones may hold weights as a pickle, and detectors are one."""
    folder = tmp_path / "model"
    AutoConfig.from_pretrained(tiny_bert).save_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(malicious_file.read_bytes())
    with pytest.raises(WeightsUnavailable):
        TextEncoder(str(folder))
    backbone = {"architecture": "test_resnet", "num_classes": 10}
    (folder / "config.json").write_text(json.dumps(backbone))
    with pytest.raises(WeightsUnavailable):
        VisualBackbone(folder, pretrained=True)
    with pytest.raises(MmieError):
        build_detector(f"coco:{malicious_file}", torch.device("cpu")).detect([], [])


@pytest.fixture
def linked_folder(tmp_path):
    """Folder with links of every kind that lead out of it, to a folder of secrets beside it."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "a.txt").write_text("the secret")
    (secret / "a.jpg").write_bytes(b"the secret")
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "folder").symlink_to(secret, target_is_directory=True)
    (folder / "link.jpg").symlink_to(secret / "a.jpg")
    (folder / "chain.jpg").symlink_to(folder / "link.jpg")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    return folder


OUTSIDE_PATHS = [
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


@pytest.mark.parametrize("path", OUTSIDE_PATHS)
def test_no_picture_outside_the_folder_is_read(linked_folder, path):
    path = path.replace("{secret}", str(linked_folder.parent / "secret"))
    records = [{"id": 1, "text": "a", "image": path}, {"id": 1, "text": "a", "crops": [path]}]
    (linked_folder / "train.jsonl").write_text("\n".join(map(json.dumps, records)))
    (linked_folder / "posts.csv").write_text(f"text,image\na,{path}\n")
    corpus = JsonlCorpus(linked_folder, strict=False)
    with pytest.warns(UserWarning, match="2 malformed posts skipped"):
        assert corpus.posts("train") == []
    for item in read_source(str(linked_folder / "train.jsonl")):
        assert isinstance(item, BadPost)
    for item in read_source(str(linked_folder / "posts.csv")):
        # an empty cell is no picture
        assert isinstance(item, BadPost) == bool(path)


@pytest.mark.parametrize("name", ["..", "../a", "/etc/passwd", "a/../../b", "//etc/passwd"])
def test_no_picture_outside_a_published_layout_is_read(tmp_path, name):
    (tmp_path / "train.txt").write_text(f"IMGID:{name}/x\nAnn\tO\n\nIMGID:1\nAnn\tO\n")
    torch.save({"1.jpg": [name], "0": [name]}, tmp_path / "twitter2017_train_dict.pth")
    corpus = Twitter2017(tmp_path, strict=False)
    with pytest.warns(UserWarning, match="malformed posts skipped"):
        posts = corpus.posts("train")
    for post in posts:
        assert post.image.is_relative_to(tmp_path)
        assert not post.crops


def test_a_folder_of_posts_has_no_links_out_of_it_and_no_pipes(linked_folder):
    secret = linked_folder.parent / "secret"
    (linked_folder / "1.txt").symlink_to(secret / "a.txt")
    (linked_folder / "2.txt").write_text("a text")
    (linked_folder / "2.jpg").symlink_to(secret / "a.jpg")
    os.mkfifo(linked_folder / "3.txt")
    (linked_folder / "4.txt").mkdir()
    (linked_folder / "5.txt").symlink_to(linked_folder / "absent")
    (linked_folder / "6.txt").write_text("another text")
    items = list(read_source(str(linked_folder)))
    # the last three are posts of a picture alone
    assert [type(item) for item in items] == [BadPost] * 5 + [Post] + [BadPost] * 3
    assert "secret" not in str(items[5])


@pytest.mark.parametrize("name", ["..", "", ".", "../a.json", "/a.json", "a/b.json", "a\0", 3])
def test_files_of_a_tokenizer_stay_in_their_folder(name):
    with pytest.raises(TokenizerError):
        WordTokenizer.from_files({name: "{}"})


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"{}",
        "",
        "{",
        "[]",
        "null",
        '{"auto_map": {"AutoTokenizer": ["evil.Evil", null]}}',
    ],
)
def test_files_of_a_tokenizer_are_checked(tiny_bert, content):
    files = WordTokenizer.from_source(tiny_bert).to_files()
    with pytest.raises(TokenizerError):
        WordTokenizer.from_files({**files, "tokenizer.json": content})


@pytest.fixture(scope="session")
def checkpoint_content(random_pair):
    """Content of a valid checkpoint file."""
    return torch.load(random_pair["ner"], weights_only=True)


@limited_examples(50)
@given(choice=st.data(), part=st.sampled_from(["mmie", "MultimodalDataModule", "state_dict"]))
def test_mutated_checkpoints_are_loaded_or_refused(checkpoint_content, tmp_path, choice, part):
    content = dict(checkpoint_content)
    if part == "state_dict":
        content[part] = dict(content[part])
        names = choice.draw(st.sets(st.sampled_from(sorted(content[part])), max_size=2))
        for name in sorted(names):
            values = [None, torch.zeros(0), content[part][name].double()]
            content[part][name] = choice.draw(st.sampled_from(values))
    else:
        # the tokenizer's files are too large for a mutation
        tokenizer = content["MultimodalDataModule"]["tokenizer"]
        small = {key: value for key, value in content[part].items() if key != "tokenizer"}
        content[part] = choice.draw(mutated(small))
        if isinstance(content[part], dict) and part == "MultimodalDataModule":
            content[part]["tokenizer"] = tokenizer
    file = tmp_path / "a.ckpt"
    torch.save(content, file)
    with contextlib.suppress(MmieError):
        load_extractor(file).extract([Post(text="Jordan lands in Rome")])


@limited_examples(20)
@given(choice=st.data())
def test_damaged_checkpoints_are_loaded_or_refused(random_pair, tmp_path, choice):
    content = bytearray(random_pair["ner"].read_bytes())
    for _ in range(choice.draw(st.integers(1, 6))):
        # the pickle lies at the beginning
        area = choice.draw(st.sampled_from([3000, len(content)]))
        content[choice.draw(st.integers(0, area - 1))] = choice.draw(st.integers(0, 255))
    length = choice.draw(st.just(len(content)) | st.integers(0, len(content)))
    file = tmp_path / "a.ckpt"
    file.write_bytes(bytes(content[:length]))
    try:
        read_checkpoint(file)
    except CheckpointError as error:
        check_message(error, file)
