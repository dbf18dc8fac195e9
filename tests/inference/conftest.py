"""Posts of the demo corpus, and extractors of methods with random weights."""

import pytest

from mmie.data import DemoCorpus
from mmie.inference import Extractor, load_pair


@pytest.fixture(scope="session")
def demo_posts(demo_root):
    """Posts of the demo corpus's test split."""
    return DemoCorpus(demo_root).posts("test")


@pytest.fixture(scope="session")
def ner_extractor(random_pair):
    """Extractor of entities."""
    return Extractor.from_checkpoint(random_pair["ner"], device="cpu")


@pytest.fixture(scope="session")
def pair_extractor(random_pair):
    """Extractor of entities and of relations between them."""
    return load_pair(random_pair["ner"], random_pair["re"], device="cpu")
