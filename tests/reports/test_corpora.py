"""The corpus that a run's configuration names."""

import sys

import pytest
from helpers.command import write_jsonl
from PIL import Image

from mmie.data import JsonlCorpus
from mmie.data.corpora.base import CorpusError
from mmie.reports.corpora import build_corpus, holds_contexts, named_pictures


class OwnCorpus(JsonlCorpus):
    """A corpus of a module that has been imported."""


def config_of(root, class_path="mmie.data.JsonlCorpus"):
    """Return the configuration of a corpus."""
    return {"class_path": class_path, "init_args": {"root": str(root)}}


@pytest.mark.parametrize(
    "class_path",
    ["mmie.data.JsonlCorpus", "mmie.data.DemoCorpus", "JsonlCorpus", f"{__name__}.OwnCorpus"],
)
def test_a_corpus_is_built_from_its_configuration(demo_root, class_path):
    corpus = build_corpus(config_of(demo_root, class_path))
    assert isinstance(corpus, JsonlCorpus)
    assert len(corpus.posts("test")) == 16


@pytest.mark.parametrize(
    "path", ["mmie.data.MultimodalDataModule", "pathlib.Path", "os.getcwd", "x", "", 3]
)
def test_another_class_than_a_corpus_is_an_error(path):
    with pytest.raises(CorpusError, match=r"no corpus of the package|names no class of a corpus"):
        build_corpus({"class_path": path, "init_args": {}})


@pytest.mark.parametrize("config", [{}, "mmie.data.JsonlCorpus", None])
def test_a_configuration_without_a_class_is_an_error(config):
    with pytest.raises(CorpusError, match="names no class of a corpus"):
        build_corpus(config)


def test_no_module_is_imported(tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text(
        f"open({str(tmp_path / 'MARKER')!r}, 'w').close()\n"
        "from mmie.data import JsonlCorpus as Corpus\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CorpusError, match=r"stranger\.Corpus is no corpus of the package"):
        build_corpus(config_of(tmp_path, "stranger.Corpus"))
    assert "stranger" not in sys.modules
    assert not (tmp_path / "MARKER").exists()


@pytest.mark.parametrize("name", ["gone", "~nobody-of-this-name/x", "x" * 300, "nul\0", ["a"]])
def test_no_corpus_is_written(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    config = {"class_path": "mmie.data.DemoCorpus", "init_args": {"root": name}}
    with pytest.raises(CorpusError, match="no such folder: a report writes no corpus"):
        build_corpus(config)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("init_args", [None, {}, {"strict": False}])
def test_the_default_folder_is_not_written_either(tmp_path, monkeypatch, init_args):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CorpusError, match="demo: expected the folder of DemoCorpus"):
        build_corpus({"class_path": "mmie.data.DemoCorpus", "init_args": init_args})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("init_args", [{"roof": "x"}, {"root": ".", "strict": "no", "b": 1}])
def test_arguments_that_do_not_fit_are_an_error(init_args):
    with pytest.raises(CorpusError, match="JsonlCorpus cannot be built: "):
        build_corpus({"class_path": "mmie.data.JsonlCorpus", "init_args": init_args})


def test_pictures_are_those_that_the_corpus_names(tmp_path):
    root = tmp_path / "corpus"
    posts = [{"id": "1", "words": ["a"], "image": "1.png"}, {"id": "2", "words": ["b"]}]
    write_jsonl(root / "test.jsonl", posts)
    Image.new("RGB", (8, 8)).save(root / "1.png")
    assert named_pictures(config_of(root)) == {str(root / "1.png"): str(root / "1.png")}
    (root / "1.png").unlink()
    Image.new("RGB", (8, 8)).save(tmp_path / "private.png")
    (root / "1.png").symlink_to(tmp_path / "private.png")
    with pytest.raises(CorpusError, match="a picture inside its folder"):
        named_pictures(config_of(root))


def test_contexts_lie_in_the_folder_of_the_corpus(tmp_path, monkeypatch):
    root = tmp_path / "corpus"
    write_jsonl(root / "test.jsonl", [{"id": "1", "words": ["a"]}])
    corpus = JsonlCorpus(root)
    monkeypatch.chdir(tmp_path)
    for inside in (root / "all.json", root / "a" / "{split}.json", "corpus/{split}.json"):
        assert holds_contexts(corpus, str(inside))
    (root / "contexts").mkdir()
    (root / "contexts" / "valid.json").symlink_to(tmp_path / "private.json")
    (root / "link").symlink_to(tmp_path)
    outside = ["private.json", "/private.json", "~/private.json", "corpus/../{split}.json"]
    outside += [str(root / name) for name in ("contexts/{split}.json", "link/x.json", "nul\0")]
    for context_file in (*outside, "", "x" * 5000, ["a"], 3, {"a": "b"}, None):
        assert not holds_contexts(corpus, context_file), context_file
