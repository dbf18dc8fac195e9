"""The data module: its settings, what is read when, errors, and the real texts."""

import functools
import json
import shutil
import warnings
from collections import Counter

import pytest
import torch
from helpers.methods import build_trainer
from lightning.pytorch.demos.boring_classes import BoringModel
from PIL import Image

from mmie.data import (
    MNRE,
    Corpus,
    CorpusError,
    DemoCorpus,
    JsonlCorpus,
    MultimodalDataModule,
    Twitter2015,
    Twitter2017,
)
from mmie.data.datamodule import SettingError
from mmie.data.encoding import WordTokenizer
from mmie.data.pictures import load_picture, to_view
from mmie.methods.tasks import build_task
from mmie.tags import tag_names, tags_to_entities
from mmie.types import MmieError, Post, Split, Task

COUNTS = {"train": 48, "valid": 16, "test": 16}


@pytest.fixture
def build(demo_root, tiny_bert):
    """Data modules over the demo corpus."""

    def build_one(
        task: Task = "ner", corpus: Corpus | None = None, **settings
    ) -> MultimodalDataModule:
        sizes = {
            "tokenizer": tiny_bert,
            "batch_size": 8,
            "max_tokens": 64,
            "image_size": 16,
            **settings,
        }
        return MultimodalDataModule(corpus or DemoCorpus(demo_root), task, **sizes)

    return build_one


def write_corpus(root, posts: int, pictures: int, broken: int = 0):
    """Write posts, ``pictures`` of them with a valid picture and ``broken`` with a broken one."""
    root.mkdir()
    records = []
    for n in range(posts):
        name = f"{n}.png" if n < pictures + broken else None
        if n < pictures:
            Image.new("RGB", (20, 20), (n, n, n)).save(root / name)
        elif name:
            (root / name).write_bytes(b"nothing")
        records.append(
            {"id": str(n), "words": ["Jordan", "lands"], "image": name, "entities": [_person()]}
        )
    for split in ("train", "valid"):
        (root / f"{split}.jsonl").write_text(
            "".join(json.dumps(record) + "\n" for record in records)
        )
    return root


def _person() -> dict:
    return {"start": 0, "end": 1, "type": "PER"}


class CountingTokenizer(WordTokenizer):
    """A tokenizer that records how many texts it splits at a time."""

    def split(self, texts):
        self.calls = [*getattr(self, "calls", []), len(texts)]
        return super().split(texts)


class CountingCorpus(DemoCorpus):
    """A corpus that records the splits that are read."""

    def __init__(self, root):
        self.requested: list[Split] = []
        super().__init__(root)

    def posts(self, split: Split) -> list[Post]:
        self.requested.append(split)
        return super().posts(split)


class Silent(BoringModel):
    """A module that ignores its batches."""

    def training_step(self, batch, number):
        return self.layer(torch.ones(1, 32)).sum()

    def validation_step(self, batch, number):
        return None


def views_of(data: MultimodalDataModule, split: Split = "train") -> list:
    return [instance.views for instance in data.instances[split]]


def instances_of(data: MultimodalDataModule, split: Split = "train") -> list:
    return data.instances[split]


@pytest.mark.parametrize("task", ["ner", "re"])
def test_loaders_return_their_split(build, task):
    data = build(task)
    data.setup("fit")
    data.setup("test")
    loaders = {
        "train": data.train_dataloader(),
        "valid": data.val_dataloader(),
        "test": data.test_dataloader(),
    }
    for split, loader in loaders.items():
        batches = list(loader)
        assert len(batches) == len(loader) == COUNTS[split] // 8
        numbers = sorted(n for batch in batches for n in batch.index.tolist())
        assert numbers == list(range(COUNTS[split]))
        ids = {
            n: post
            for batch in batches
            for n, post in zip(batch.index.tolist(), batch.ids, strict=True)
        }
        assert [ids[n] for n in numbers] == [post.id for post in data.corpus.posts(split)]
        assert all(batch.counted.all() for batch in batches)
        assert all(batch.pixels is not None for batch in batches)
    predicted = [batch.ids for batch in data.predict_dataloader()]
    assert predicted == [batch.ids for batch in data.test_dataloader()]


def test_schema(build, tiny_bert):
    data = build("ner", tag_scheme="bioes", num_objects=2)
    schema = data.schema
    assert (schema.task, schema.labels, schema.tag_scheme) == (
        "ner",
        data.corpus.entity_types,
        "bioes",
    )
    assert (schema.max_tokens, schema.num_objects, schema.image_size) == (64, 2, 16)
    assert schema.vocab_size == WordTokenizer.from_source(tiny_bert).vocab_size
    assert build("re").schema.labels == data.corpus.relation_labels


@pytest.mark.parametrize("task", ["ner", "re"])
def test_a_trainer_runs_every_stage(build, task, tmp_path):
    """Splits are set up when Lightning needs them."""
    num_posts = Counter()

    class Counting(Silent):
        def training_step(self, batch, number):
            num_posts["train"] += len(batch)
            return super().training_step(batch, number)

        def validation_step(self, batch, number):
            num_posts["valid"] += len(batch)

        def test_step(self, batch, number):
            num_posts["test"] += len(batch)

    module, data = Counting(), build(task)
    trainer = build_trainer(tmp_path, max_epochs=2)
    trainer.fit(module, datamodule=data)
    assert set(data.instances) == {"train", "valid"}
    trainer.test(module, datamodule=data, verbose=False)
    assert num_posts == {"train": 96, "valid": 32, "test": 16}


@pytest.mark.parametrize(
    ("stage", "splits"),
    [
        ("fit", {"train", "valid"}),
        ("validate", {"valid"}),
        ("test", {"test"}),
        ("predict", {"test"}),
    ],
)
def test_a_stage_reads_its_splits(build, stage, splits):
    data = build()
    data.setup(stage)
    assert set(data.instances) == splits


def test_everything_is_read_and_tokenised_once(build, demo_root, tiny_bert):
    corpus = CountingCorpus(demo_root)
    data = build(corpus=corpus)
    data.tokenizer = CountingTokenizer.from_source(tiny_bert, 64)
    corpus.requested.clear()
    for stage in ("fit", "validate", "fit", "test", "predict", "test"):
        data.setup(stage)
        read = {split: data.instances[split] for split in data.instances}
        data.setup(stage)
        assert all(data.instances[split] is instances for split, instances in read.items())
        for loader in (data.val_dataloader, data.train_dataloader):
            list(loader())
    assert data.tokenizer.calls == [48, 16, 16]
    assert [corpus.requested.count(split) for split in ("valid", "test")] == [1, 1]


def test_setup_twice_warns_once(build, tmp_path):
    corpus = JsonlCorpus(write_corpus(tmp_path / "c", 4, 2, 2), max_missing=1)
    data = build(corpus=corpus)
    with pytest.warns(UserWarning, match="cannot be read"):
        data.setup("fit")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.setup("fit")
        data.setup("validate")


@pytest.mark.parametrize("task", ["ner", "re"])
@pytest.mark.parametrize(("fraction", "count"), [(1.0, 48), (0.5, 24), (0.26, 12), (0.001, 1)])
def test_train_fraction(build, task, fraction, count):
    data = build(task, train_fraction=fraction)
    data.setup("fit")
    ids = [instance.post.id for instance in instances_of(data)]
    every = [post.id for post in data.corpus.posts("train")]
    assert len(ids) == len(set(ids)) == count
    assert ids == [post for post in every if post in set(ids)]
    assert len(instances_of(data, "valid")) == 16


def test_train_fraction_is_seeded(build):
    chosen = []
    for seed in (1, 1, 2):
        data = build(train_fraction=0.5, seed=seed)
        data.setup("fit")
        chosen.append([instance.post.id for instance in instances_of(data)])
    assert chosen[0] == chosen[1] != chosen[2]


def test_order_of_batches_is_seeded(build):
    orders = []
    for seed in (1, 1, 2):
        data = build(seed=seed)
        data.setup("fit")
        orders.append([batch.ids for batch in data.train_dataloader()])
    assert orders[0] == orders[1] != orders[2]


def test_right_pictures(build):
    data = build()
    data.setup("fit")
    for post, found in zip(data.corpus.posts("train"), views_of(data), strict=True):
        assert found == (post.image, *post.crops, *[None] * (3 - len(post.crops)))


def test_shuffled_pictures(build):
    data, again, other = (
        build(pictures="shuffled"),
        build(pictures="shuffled"),
        build(pictures="shuffled", seed=7),
    )
    for module in (data, again, other):
        module.setup("fit")
    posts = data.corpus.posts("train")
    crops_of = {post.image: post.crops for post in posts}
    assert sorted(found[0] for found in views_of(data)) == sorted(crops_of)
    for post, found in zip(posts, views_of(data), strict=True):
        assert found[0] != post.image
        assert tuple(path for path in found[1:] if path) == crops_of[found[0]]
    assert [instance.post.words for instance in instances_of(data)] == [
        post.words for post in posts
    ]
    assert views_of(data) == views_of(again) != views_of(other)
    assert {found[0] for found in views_of(data, "valid")} == {
        post.image for post in data.corpus.posts("valid")
    }


def test_no_pictures(build):
    data = build(pictures="none")
    data.setup("fit")
    assert set(views_of(data)) == {(None,) * 4}
    assert all(
        batch.pixels is None and not batch.view_mask.any() for batch in data.train_dataloader()
    )


def test_eval_batch_size(build):
    data = build(batch_size=6, eval_batch_size=5)
    data.setup("fit")
    data.setup("test")
    assert [len(batch) for batch in data.train_dataloader()] == [6] * 8
    for loader in (data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()):
        assert [len(batch) for batch in loader] == [5, 5, 5, 1]
    same = build(batch_size=6)
    same.setup("validate")
    assert [len(batch) for batch in same.val_dataloader()] == [6, 6, 4]


@pytest.mark.parametrize("num_objects", [0, 1, 3])
def test_num_objects(build, num_objects):
    data = build(num_objects=num_objects)
    data.setup("validate")
    for post, found in zip(data.corpus.posts("valid"), views_of(data, "valid"), strict=True):
        assert [path for path in found if path] == [post.image, *post.crops[:num_objects]]
    assert all(batch.pixels.shape[1] == 1 + num_objects for batch in data.val_dataloader())


def test_tag_scheme(build):
    most = {}
    for scheme in ("bio", "bioes"):
        data = build(tag_scheme=scheme)
        data.setup("validate")
        most[scheme] = max(int(batch.tags.max()) for batch in data.val_dataloader())
    types = len(data.corpus.entity_types)
    assert most["bio"] <= 2 * types < most["bioes"] <= 4 * types


@pytest.mark.parametrize("resize", ["crop", "squash"])
@pytest.mark.parametrize("image_size", [16, 24])
def test_resize_and_image_size(build, resize, image_size):
    data = build(resize=resize, image_size=image_size)
    data.setup("validate")
    batch = next(iter(data.val_dataloader()))
    post = data.corpus.posts("valid")[int(batch.index[0])]
    assert torch.equal(batch.pixels[0, 0], to_view(load_picture(post.image), image_size, resize))


def test_max_tokens(build, caplog):
    data = build(max_tokens=10)
    with caplog.at_level("INFO"):
        data.setup("validate")
    cut = sum(
        instance.text.num_words < len(instance.post.words)
        for instance in instances_of(data, "valid")
    )
    assert cut > 0
    assert f"max_tokens 10 cuts words off {cut} instances" in caplog.text
    assert all(batch.input_ids.shape[1] <= 10 for batch in data.val_dataloader())


def test_truncated_relations_are_reported(build, caplog):
    with caplog.at_level("INFO"):
        build("re", max_tokens=12).setup("validate")
    assert "valid: max_tokens 12 cuts words off" in caplog.text


def test_max_pixels(build, tmp_path):
    data = build(
        corpus=JsonlCorpus(write_corpus(tmp_path / "c", 3, 3), max_missing=1), max_pixels=399
    )
    with pytest.warns(
        UserWarning, match="3 of 3 pictures cannot be read: 0.png .more than 399 pixels."
    ):
        data.setup("fit")
    assert all(batch.pixels is None for batch in data.val_dataloader())


@pytest.mark.slow
def test_workers_and_pinning(build):
    data = build(num_workers=1, pin_memory=False)
    data.setup("validate")
    loader = data.val_dataloader()
    assert (loader.num_workers, loader.persistent_workers, loader.pin_memory) == (1, True, False)
    assert sum(len(batch) for batch in loader) == 16
    assert build().pin_memory == torch.cuda.is_available()
    assert build(pin_memory=True).pin_memory is True


def test_unreadable_pictures_are_masked_and_reported_once(build, tmp_path):
    root = write_corpus(tmp_path / "c", 20, 5, 12)
    data = build(corpus=JsonlCorpus(root, max_missing=1), num_objects=0)
    with pytest.warns(UserWarning, match="cannot be read") as record:
        data.setup("fit")
    (warning,) = [str(warning.message) for warning in record]
    assert "\n" not in warning
    assert warning.startswith("c: 12 of 17 pictures cannot be read: 5.png (not a picture), 6.png")
    assert [f"{n}.png" in warning for n in range(5, 17)] == [True] * 10 + [False] * 2
    assert [found[0] is not None for found in views_of(data)] == [True] * 5 + [False] * 15
    masks = {
        post: mask
        for batch in data.val_dataloader()
        for post, mask in zip(batch.ids, batch.view_mask, strict=True)
    }
    assert [bool(masks[str(n)]) for n in range(20)] == [True] * 5 + [False] * 15


@pytest.mark.filterwarnings("ignore:.*cannot be read")
@pytest.mark.parametrize(
    ("max_missing", "rejected"), [(0.05, True), (0.24, True), (0.25, False), (1.0, False)]
)
def test_too_many_unreadable_pictures(build, tmp_path, max_missing, rejected):
    data = build(corpus=JsonlCorpus(write_corpus(tmp_path / "c", 8, 3, 1), max_missing=max_missing))
    if not rejected:
        data.setup("fit")
        return
    for _ in range(2):  # a second set-up raises as well
        with pytest.raises(
            CorpusError, match=r"c: 1 of 4 .*3\.png.*more than max_missing"
        ) as error:
            data.setup("fit")
        assert "\n" not in str(error.value)
    assert not data.instances


def test_a_picture_that_disappears_after_set_up_is_masked(build, demo_root, tmp_path):
    shutil.copytree(demo_root, tmp_path / "demo")
    data = build(corpus=DemoCorpus(tmp_path / "demo"))
    data.setup("validate")
    gone = data.corpus.posts("valid")[3]
    gone.image.unlink()
    with pytest.warns(UserWarning, match=f"{gone.image.name}: missing; the view is masked"):
        batches = list(data.val_dataloader())
    masks = {
        post: mask
        for batch in batches
        for post, mask in zip(batch.ids, batch.view_mask, strict=True)
    }
    assert [post for post, mask in masks.items() if not mask[0]] == [gone.id]


def test_state_is_plain_and_restores_the_tokenizer(build, tmp_path):
    data = build(resize="squash", max_pixels=12345)
    torch.save(data.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state == data.state_dict()
    assert type(data.schema)(**state["schema"]) == data.schema
    assert state["transform"] == {"resize": "squash", "max_pixels": 12345}
    again = WordTokenizer.from_files(state["tokenizer"], state["schema"]["max_tokens"])
    posts = data.corpus.posts("train")
    texts = [post.words for post in posts]
    assert again.split(texts) == data.tokenizer.split(texts)
    for post, pieces in zip(posts, again.split(texts), strict=True):
        assert again.encode_pair(pieces, post.relations[0]) == data.tokenizer.encode_pair(
            pieces, post.relations[0]
        )
    assert (again.vocab_size, again.pad_id) == (data.schema.vocab_size, data.tokenizer.pad_id)


def test_state_of_the_same_corpus_is_accepted(build):
    for task in ("ner", "re"):
        build(task, max_tokens=32).load_state_dict(
            build(task, seed=5, train_fraction=0.5).state_dict()
        )


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"labels": ("LOC", "MISC", "ORG")}, "labels"),
        ({"labels": ("PER", "ORG", "MISC", "LOC")}, "labels"),
        ({"tag_scheme": "bioes"}, "tag_scheme"),
        ({"task": "re"}, "task"),
    ],
)
def test_state_of_other_labels_is_rejected(build, change, word):
    data = build()
    assert data.schema.labels == ("LOC", "MISC", "ORG", "PER")
    state = data.state_dict()
    with pytest.raises(CorpusError, match=f"trained with {word}") as error:
        data.load_state_dict({**state, "schema": {**state["schema"], **change}})
    message = str(error.value)
    assert str(change[word]) in message
    assert str(getattr(data.schema, word)) in message


def test_a_trainer_saves_the_state_in_its_checkpoint(build, tmp_path):
    trainer = build_trainer(tmp_path, max_epochs=1, limit_train_batches=1, limit_val_batches=1)
    data = build()
    trainer.fit(Silent(), datamodule=data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert checkpoint["MultimodalDataModule"] == data.state_dict()
    other = build(tag_scheme="bioes")
    with pytest.raises(CorpusError, match="tag_scheme"):
        build_trainer(tmp_path, max_epochs=2).fit(
            Silent(), datamodule=other, ckpt_path=tmp_path / "last.ckpt", weights_only=True
        )


@pytest.mark.parametrize(
    "setting",
    [
        {"train_fraction": 0},
        {"train_fraction": 1.01},
        {"train_fraction": -0.5},
        {"train_fraction": float("nan")},
        {"batch_size": 0},
        {"eval_batch_size": 0},
        {"eval_batch_size": -1},
        {"num_objects": -1},
        {"num_images": 0},
        {"num_workers": -1},
        {"image_size": 0},
        {"pictures": "wrong"},
        {"tag_scheme": "iob"},
        {"resize": "stretch"},
    ],
)
def test_invalid_settings_are_named(build, setting):
    (name,) = setting
    with pytest.raises(SettingError, match=f"{name} is .*expected") as error:
        build(**setting)
    assert "\n" not in str(error.value)
    assert isinstance(error.value, MmieError)


@pytest.mark.parametrize("max_tokens", [0, 7])
def test_too_few_tokens_are_rejected(build, max_tokens):
    with pytest.raises(MmieError, match=f"max_tokens is {max_tokens}"):
        build(max_tokens=max_tokens).setup("fit")


def test_a_missing_tokenizer_is_named(build):
    with pytest.raises(MmieError, match="no-such-tokenizer"):
        build(tokenizer="no-such-tokenizer").setup("fit")


def test_a_task_without_labels_is_rejected(build, tmp_path):
    corpus = JsonlCorpus(write_corpus(tmp_path / "c", 2, 0))
    with pytest.raises(CorpusError, match="c has nothing for task re: it has ner"):
        build("re", corpus)
    with pytest.raises(CorpusError, match="task parsing"):
        build("parsing", corpus)


def test_a_split_without_an_instance_is_rejected(build, demo_root, tmp_path):
    shutil.copytree(demo_root, tmp_path / "demo")
    lines = (tmp_path / "demo" / "valid.jsonl").read_text().splitlines()
    bare = "".join(json.dumps({**json.loads(line), "relations": []}) + "\n" for line in lines)
    (tmp_path / "demo" / "valid.jsonl").write_text(bare)
    with pytest.raises(CorpusError, match=r"valid\.jsonl: the split has no instance for task re"):
        build("re", DemoCorpus(tmp_path / "demo")).setup("fit")


def test_a_missing_split_is_named(build, tmp_path):
    data = build(corpus=JsonlCorpus(write_corpus(tmp_path / "c", 2, 0)))
    with pytest.raises(CorpusError, match=r"test\.jsonl"):
        data.setup("test")


REAL = [
    (MNRE, "re", {"train": 12247, "valid": 1624}),
    (Twitter2015, "ner", {"train": 4000, "valid": 1000}),
    (Twitter2017, "ner", {"train": 3373, "valid": 723}),
]


@pytest.fixture(scope="module")
def real(shared_data):
    """The published corpora by class, each read once."""
    return functools.cache(
        lambda corpus_class: corpus_class(shared_data / corpus_class.__name__.lower())
    )


@pytest.mark.slow
@pytest.mark.parametrize(("corpus_class", "task", "counts"), REAL)
def test_real_texts_without_their_pictures(build, real, corpus_class, task, counts):
    """Without the pictures there is one warning, every view is masked, and no text is lost."""
    corpus = real(corpus_class)
    data = build(task, corpus, batch_size=64, max_tokens=80)
    with pytest.warns(
        UserWarning, match=r"(\d+) of \1 pictures cannot be read: .*missing"
    ) as record:
        data.setup("fit")
    assert len(record) == 1
    assert {split: len(found) for split, found in data.instances.items()} == counts
    assert all(
        view is None for split in counts for found in views_of(data, split) for view in found
    )
    counted = 0
    for batch in data.val_dataloader():
        counted += int(batch.counted.sum())
        assert batch.pixels is None
        assert not batch.view_mask.any()
        assert batch.input_ids.shape[1] <= 80
        assert int(batch.word_starts.max()) < batch.input_ids.shape[1]
    assert counted == counts["valid"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*cannot be read")
def test_real_relations_keep_their_markers(build, real):
    data = build("re", real(MNRE), max_tokens=32)
    data.setup("validate")
    openers = data.tokenizer.tokenizer.convert_tokens_to_ids(["[unused1]", "[unused3]"])
    for instance in instances_of(data, "valid"):
        text, relation = instance.text, instance.relation
        assert [text.input_ids[position] for position in text.markers] == openers
        for position, entity in zip(text.markers, (relation.head, relation.tail), strict=True):
            inside = next((word for word in text.token_words[position:] if word >= 0), None)
            assert inside is not None
            assert inside >= entity.start
    assert all((batch.labels >= 0).all() for batch in data.val_dataloader())


@pytest.mark.filterwarnings("ignore:.*cannot be read")
def test_tags_of_real_entities_can_be_inverted(build, real):
    data = build("ner", real(Twitter2017), max_tokens=512, tag_scheme="bioes")
    data.setup("test")
    names = tag_names(data.schema.labels, "bioes")
    for instance in instances_of(data, "test"):
        assert (
            tuple(tags_to_entities([names[tag] for tag in instance.tags])) == instance.post.entities
        )


def write_crop_corpus(root, crops: int):
    """One post in every split, with crops of one colour each."""
    root.mkdir()
    names = [f"{n}.png" for n in range(crops)]
    for n, name in enumerate(names):
        Image.new("RGB", (16, 16), (10 * n, 0, 0)).save(root / name)
    record = {
        "id": "a",
        "words": ["Jordan"],
        "image": names[0],
        "crops": names,
        "entities": [_person()],
    }
    for split in ("train", "valid"):
        (root / f"{split}.jsonl").write_text(json.dumps(record) + "\n")
    return root


def colours(loader, epoch: int) -> list[int]:
    """Crops of the only post of a loader in an epoch; -1 for a masked view."""
    loader.sampler.set_epoch(epoch)
    (batch,) = loader
    reds = batch.pixels[0, 1:, 0, 0, 0].tolist()
    return [
        red // 10 if is_readable else -1
        for red, is_readable in zip(reds, batch.view_mask[0, 1:].tolist(), strict=True)
    ]


@pytest.mark.slow
def test_random_crops_are_drawn_anew_in_every_training_epoch(build, tmp_path):
    root = write_crop_corpus(tmp_path / "corpus", 6)
    data, again = (
        build(corpus=JsonlCorpus(root), random_crops=True, num_workers=workers)
        for workers in (0, 2)
    )
    for module in (data, again):
        module.setup("fit")
    drawn = [colours(data.train_dataloader(), epoch) for epoch in range(30)]
    assert all(len(set(crops)) == 3 for crops in drawn)
    assert {crop for crops in drawn for crop in crops} == set(range(6))
    assert drawn == [colours(data.train_dataloader(), epoch) for epoch in range(30)]
    assert drawn[:2] == [colours(again.train_dataloader(), epoch) for epoch in range(2)]
    assert colours(data.val_dataloader(), 1) == [0, 1, 2]


def test_random_crops_are_readable(build, tmp_path):
    root = write_crop_corpus(tmp_path / "corpus", 4)
    (root / "2.png").write_bytes(b"nothing")
    data = build(corpus=JsonlCorpus(root, max_missing=1.0), random_crops=True, num_objects=4)
    with pytest.warns(UserWarning, match="2.png"):
        data.setup("fit")
    drawn = [colours(data.train_dataloader(), epoch) for epoch in range(10)]
    assert {tuple(sorted(crops)) for crops in drawn} == {(-1, 0, 1, 3)}
    assert len({tuple(crops) for crops in drawn}) > 1


def test_windows_of_long_posts_are_scored_once_for_each_gold_entity(build):
    settings = {"max_tokens": 10, "eval_batch_size": 3}
    data = build(long="windows", **settings)
    data.setup("test")
    instances = data.instances["test"]
    posts = data.corpus.posts("test")
    assert len(instances) > len(posts)
    assert not any(instance.is_truncated for instance in instances)
    task = build_task(data.schema)
    metric = task.build_metric()
    for batch in data.test_dataloader():
        assert batch.tags is not None
        task.update_metric(metric, batch, batch.tags)
    num_gold = sum(len(post.entities) for post in posts)
    true_positives, predicted, gold = metric.counts.sum(0).tolist()
    assert (true_positives, predicted, gold) == (num_gold, num_gold, num_gold)
    cut = build(**settings)
    cut.setup("test")
    metric = task.build_metric()
    for batch in cut.test_dataloader():
        task.update_metric(metric, batch, batch.tags)
    assert metric.counts.sum(0).tolist()[2] == num_gold > metric.counts.sum(0).tolist()[0]


def test_posts_that_fit_are_the_same_instances_with_windows(build):
    plain, windows = build(), build(long="windows")
    for data in (plain, windows):
        data.setup("test")
    assert windows.instances == plain.instances
    assert next(iter(windows.test_dataloader())).cores is None


def test_long_posts_are_refused_on_request(build, demo_root):
    data = build(long="error", max_tokens=10)
    with pytest.raises(CorpusError, match="instances are longer than max_tokens 10, the first one"):
        data.setup("test")
    build(long="error").setup("test")
    with pytest.raises(SettingError, match="long is windows, task re: expected truncate or error"):
        build("re", long="windows")
    with pytest.raises(SettingError, match="long is 'cut': expected one of windows, truncate, er"):
        build(long="cut")
