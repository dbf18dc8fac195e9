"""Contexts in a file beside the corpus, by themselves and in the data module."""

import json
import re
import warnings
from pathlib import Path

import pytest
from helpers.methods import build_data

from mmie.data import MNRE, CorpusError, DemoCorpus, JsonlCorpus, MultimodalDataModule
from mmie.data.corpora.contexts import ContextFile, context_path, read_contexts
from mmie.data.datamodule import SettingError
from mmie.types import SPLITS, MmieError

POSTS = {"train": ("a", "b", "c"), "valid": ("d", "e"), "test": ("f", "c")}
"""Ids of each split, of which ``c`` is in two."""


@pytest.fixture
def corpus(tmp_path):
    root = tmp_path / "corpus"
    root.mkdir()
    for split, ids in POSTS.items():
        records = [
            {"id": i, "words": ["Jordan", "x"], "context": f"own {i}", "entities": [_person()]}
            for i in ids
        ]
        del records[0]["context"]
        (root / f"{split}.jsonl").write_text(
            "".join(json.dumps(record) + "\n" for record in records)
        )
    return JsonlCorpus(root)


def _person() -> dict:
    return {"start": 0, "end": 1, "type": "PER"}


@pytest.fixture
def build(corpus, tiny_bert):
    """Data modules over the corpus."""

    def build_one(**settings) -> MultimodalDataModule:
        return MultimodalDataModule(
            corpus, "ner", tokenizer=tiny_bert, max_tokens=32, image_size=16, **settings
        )

    return build_one


def write(file, contexts) -> str:
    file.write_text(json.dumps(contexts), encoding="utf-8")
    return str(file)


def contexts_of(posts) -> dict:
    return {post.id: post.context for post in posts}


def decoded(data, split) -> list[str]:
    """The second segments of a split's instances."""
    backend = data.tokenizer.tokenizer
    return [
        backend.decode(
            [
                i
                for i, s in zip(instance.text.input_ids, instance.text.token_type_ids, strict=True)
                if s
            ]
        )
        for instance in data.instances[split]
    ]


def test_a_file_for_all_splits_replaces_own_contexts(corpus, tmp_path):
    file = ContextFile(write(tmp_path / "all.json", {"a": "new a", "b": "new b", "e": ""}), corpus)
    assert contexts_of(file.posts("train")) == {"a": "new a", "b": "new b", "c": "own c"}
    assert contexts_of(file.posts("valid")) == {"d": None, "e": ""}
    assert contexts_of(corpus.posts("train")) == {"a": None, "b": "own b", "c": "own c"}


def test_a_file_for_each_split(corpus, tmp_path):
    for split in SPLITS:
        write(tmp_path / f"{{x}}_{split}.json", {"c": f"{split} c"} if split != "valid" else {})
    file = ContextFile(str(tmp_path / "{x}_{split}.json"), corpus)
    assert contexts_of(file.posts("train"))["c"] == "train c"
    assert contexts_of(file.posts("test"))["c"] == "test c"


def test_an_id_of_two_splits_requires_a_file_for_each(corpus, tmp_path):
    file = ContextFile(write(tmp_path / "all.json", {"a": "x", "c": "y"}), corpus)
    with pytest.raises(
        CorpusError, match=r"all\.json: post 'c' is in 2 splits of corpus: .*\{split\}"
    ) as error:
        file.posts("train")
    assert "\n" not in str(error.value)


def test_unknown_ids_cause_one_warning(corpus, tmp_path):
    extra = {f"no{n}": "x" for n in range(7)}
    file = ContextFile(write(tmp_path / "all.json", {"a": "x", "d": "y", **extra}), corpus)
    with pytest.warns(
        UserWarning, match=r"all\.json: 7 contexts are for posts that do not exist: 'no0', "
    ) as record:
        posts = [file.posts(split) for split in SPLITS]
    assert [len(found) for found in posts] == [3, 2, 2]
    assert len(record) == 1
    assert "'no4', ..." in str(record[0].message)
    assert "'no5'" not in str(record[0].message)


def test_ids_of_another_split_cause_a_warning(corpus, tmp_path):
    write(tmp_path / "train.json", {"a": "x", "d": "y"})
    with pytest.warns(
        UserWarning, match=r"train\.json: 1 contexts are for posts that do not exist: 'd'$"
    ):
        ContextFile(str(tmp_path / "{split}.json"), corpus).posts("train")


def test_known_ids_cause_no_warning(corpus, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ContextFile(write(tmp_path / "all.json", {"a": "x", "f": "y"}), corpus).posts("train")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "what is no JSON"),
        (b"{", "what is no JSON"),
        (b"\xff\xfe", "what is no JSON"),
        (b"[" * 100_000, "what is no JSON"),
        (b'["a"]', "a list"),
        (b'"a"', "a str"),
        (b"null", "a NoneType"),
        (b'{"a": "x", "b": null}', "a NoneType as the context of post 'b'"),
        (b'{"a": ["x"]}', "a list as the context of post 'a'"),
    ],
)
def test_other_content_is_named(tmp_path, content, found):
    (tmp_path / "c.json").write_bytes(content)
    with pytest.raises(
        CorpusError, match=rf"c\.json: expected a JSON object .* found {found}"
    ) as error:
        read_contexts(tmp_path / "c.json")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["gone.json", "folder", "no/such/folder.json"])
def test_unreadable_files_are_named(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(
        CorpusError, match=rf"{re.escape(name)}: expected a JSON object .* found no file"
    ) as error:
        read_contexts(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_is_ignored(tmp_path):
    (tmp_path / "c.json").write_bytes(b'\xef\xbb\xbf{"a": "x"}')
    assert read_contexts(tmp_path / "c.json") == {"a": "x"}


def test_the_data_module_reads_contexts_on_request(build, caplog):
    data, plain = build(use_context=True), build()
    with caplog.at_level("INFO"):
        for module in (data, plain):
            module.setup("fit")
    assert decoded(data, "train") == ["", "own b [SEP]", "own c [SEP]"]
    assert decoded(plain, "train") == ["", "", ""]
    assert "corpus train: 2 of 3 posts have a context" in caplog.text
    assert caplog.text.count("have a context") == 2
    (batch,) = data.train_dataloader()
    assert batch.token_type_ids.any(1).sum() == 2


def test_the_path_of_a_split(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert context_path("~/{split}/{split}.json", "test") == tmp_path / "test" / "test.json"
    assert context_path("all.json", "test") == Path("all.json")


def test_the_data_module_reads_a_context_file(build, tmp_path, caplog):
    data = build(
        use_context=True, context_file=write(tmp_path / "all.json", {"a": "new", "b": " "})
    )
    with caplog.at_level("INFO"):
        data.setup("fit")
    assert decoded(data, "train") == ["new [SEP]", "", "own c [SEP]"]
    assert "corpus train: 2 of 3 posts have a context" in caplog.text


def test_a_context_file_without_use_context_is_rejected(build):
    with pytest.raises(
        SettingError,
        match=r"context_file is 'x\.json', use_context false: expected use_context: true",
    ):
        build(context_file="x.json")


def test_a_missing_context_file_is_named(build, tmp_path):
    data = build(use_context=True, context_file=str(tmp_path / "{split}.json"))
    write(tmp_path / "valid.json", {})
    data.setup("validate")
    with pytest.raises(MmieError, match=r"train\.json: expected a JSON object"):
        data.setup("fit")


def test_the_state_records_whether_contexts_are_read(build):
    assert build().state_dict()["use_context"] is False
    assert build(use_context=True).state_dict()["use_context"] is True


@pytest.mark.parametrize("pictures", ["none", "shuffled"])
def test_other_pictures_keep_the_context(build, corpus, pictures):
    data = build(use_context=True, pictures=pictures)
    data.setup("fit")
    assert decoded(data, "train") == ["", "own b [SEP]", "own c [SEP]"]


@pytest.mark.parametrize("task", ["ner", "re"])
def test_contexts_of_demo_posts_reach_every_batch(demo_root, tiny_bert, tmp_path, task):
    posts = DemoCorpus(demo_root).posts("train")
    for split in SPLITS:
        ids = [post.id for post in DemoCorpus(demo_root).posts(split)]
        write(tmp_path / f"{split}.json", {post: f"tonight {post.split('-')[0]}" for post in ids})
    path = str(tmp_path / "{split}.json")
    data = build_data(demo_root, task, tiny_bert, use_context=True, context_file=path)
    plain = build_data(demo_root, task, tiny_bert)
    assert len(data.instances["train"]) == len(posts)
    for ours, theirs in zip(data.instances["train"], plain.instances["train"], strict=True):
        assert ours.text.context_length > 0
        assert ours.text.input_ids[: len(theirs)] == theirs.text.input_ids
        assert (ours.tags, ours.label, ours.text.markers) == (
            theirs.tags,
            theirs.label,
            theirs.text.markers,
        )
    assert all(batch.token_type_ids.any(1).all() for batch in data.train_dataloader())


@pytest.mark.slow
def test_real_line_numbers_require_a_file_for_each_split(shared_data, tmp_path):
    corpus = MNRE(shared_data / "mnre")
    write(tmp_path / "valid.json", {"0": "first of valid"})
    posts = ContextFile(str(tmp_path / "{split}.json"), corpus).posts("valid")
    assert [post.context for post in posts] == ["first of valid"] + [None] * 1623
    with pytest.raises(CorpusError, match="post '0' is in 3 splits of mnre"):
        ContextFile(write(tmp_path / "all.json", {"0": "first of which?"}), corpus).posts("valid")
