"""The corpus that a run's configuration names."""

import pytest

from mmie.data import JsonlCorpus
from mmie.reports.corpora import build_corpus


def test_a_corpus_is_built_from_its_configuration(demo_root):
    config = {"class_path": "mmie.data.JsonlCorpus", "init_args": {"root": str(demo_root)}}
    corpus = build_corpus(config)
    assert isinstance(corpus, JsonlCorpus)
    assert len(corpus.posts("test")) == 16


@pytest.mark.parametrize("path", ["mmie.data.MultimodalDataModule", "pathlib.Path", "os.getcwd"])
def test_another_class_than_a_corpus_is_an_error(path):
    with pytest.raises(TypeError, match=f"expected a corpus, got {path}"):
        build_corpus({"class_path": path, "init_args": {}})
