"""The demo corpus, which is written where it does not exist."""

import json

import pytest
from helpers.demo import contents

from mmie.data.demo import DemoCorpus
from mmie.types import Entity


@pytest.mark.slow
def test_a_missing_corpus_is_written_once(tmp_path, default_root):
    corpus = DemoCorpus(tmp_path / "new" / "demo")
    assert contents(tmp_path / "new" / "demo") == contents(default_root)
    stamp = (tmp_path / "new" / "demo").stat().st_mtime_ns
    assert DemoCorpus(tmp_path / "new" / "demo").bounds == corpus.bounds
    assert (tmp_path / "new" / "demo").stat().st_mtime_ns == stamp
    assert corpus.tasks == ("ner", "re")
    assert corpus.posts("test")[0].entities[0] == Entity(*_first_entity(default_root))


def _first_entity(root):
    entity = json.loads((root / "test.jsonl").read_text().splitlines()[0])["entities"][0]
    return entity["start"], entity["end"], entity["type"]
