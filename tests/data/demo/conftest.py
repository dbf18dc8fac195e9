"""Demo corpora with the default settings, which several files of tests read."""

import pytest

from mmie.data.demo import DemoCorpus, write_demo


@pytest.fixture(scope="session")
def default_root(tmp_path_factory):
    """Folder of a demo corpus with the default settings."""
    folder = tmp_path_factory.mktemp("demo") / "corpus"
    write_demo(folder)
    return folder


@pytest.fixture(scope="session")
def corpus(default_root):
    """The demo corpus with the default settings."""
    return DemoCorpus(default_root)


@pytest.fixture(scope="session")
def context_corpus(tmp_path_factory):
    """The variant in which contexts decide."""
    folder = tmp_path_factory.mktemp("demo") / "contexts"
    write_demo(folder, context=True)
    return DemoCorpus(folder)
