"""Batches, compared with the posts and the picture files themselves."""

import pickle
import random
from dataclasses import fields, replace

import pytest
import torch
from helpers.posts import DESCRIBED, LONG, PERSON, PLACE, WORDS, make_schema, write_tokenizer
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from mmie.data.batching import Collator, InstanceDataset
from mmie.data.demo import DemoCorpus
from mmie.data.encoding import WordTokenizer
from mmie.data.instances import encode_posts, mask_views, sample_crops
from mmie.data.pictures import ImageTransform, load_picture, to_view
from mmie.data.sampler import BucketSampler, Draw
from mmie.types import Batch, Entity, Post, Relation, Schema


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Four pictures of different sizes, and a broken file."""
    folder = tmp_path_factory.mktemp("pictures")
    numbers = random.Random(0)
    for name, size in {"a": (40, 30), "b": (20, 60), "c": (33, 33), "d": (50, 16)}.items():
        data = bytes(numbers.randrange(256) for _ in range(3 * size[0] * size[1]))
        Image.frombytes("RGB", size, data).save(folder / f"{name}.png")
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:200])
    return folder


def collate(posts, schema, tokenizer, **settings) -> Batch:
    instances = encode_posts(posts, schema, tokenizer)
    return Collator(schema, tokenizer.pad_id, **settings)(instances, range(len(instances)))


def same_batches(left: Batch, right: Batch) -> bool:
    """Whether all fields of two batches are equal."""
    pairs = [(getattr(left, field.name), getattr(right, field.name)) for field in fields(Batch)]
    return all(
        torch.equal(a, b) and a.dtype == b.dtype
        if isinstance(a, Tensor) and isinstance(b, Tensor)
        else a == b
        for a, b in pairs
    )


def test_ner_batch_holds_the_posts(tokenizer):
    posts = [
        Post("x", WORDS, entities=(PERSON, PLACE)),
        Post("y", ("Jordan",), entities=(Entity(0, 1, "ORG"),)),
    ]
    schema = make_schema(tokenizer)
    instances = encode_posts(posts, schema, tokenizer)
    batch = Collator(schema, tokenizer.pad_id)(instances, [4, 2], [True, False])
    tokens = [
        " ".join(tokenizer.tokenizer.convert_ids_to_tokens(row)) for row in batch.input_ids.tolist()
    ]
    assert tokens[0] == "[CLS] jordan talks about the news ##room of washi ##ngton [SEP]"
    assert tokens[1] == "[CLS] jordan [SEP]" + " [PAD]" * 8
    assert batch.ids == ("x", "y")
    assert batch.counted.tolist() == [True, False]
    assert batch.index.tolist() == [4, 2]
    assert batch.attention_mask.tolist() == [[True] * 11, [True] * 3 + [False] * 8]
    assert batch.text_mask.tolist() == [[False, *[True] * 9, False], [False, True, *[False] * 9]]
    assert batch.token_type_ids.tolist() == [[0] * 11] * 2
    assert batch.token_words.tolist() == [[-1, 0, 2, 3, 4, 5, 5, 6, 7, 7, -1], [-1, 0, *[-1] * 9]]
    assert batch.word_starts.tolist() == [[1, 0, 2, 3, 4, 5, 7, 8], [1, *[0] * 7]]
    assert batch.word_mask.tolist() == [[True] * 8, [True, *[False] * 7]]
    names = ("O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER")
    tags = [[names[tag] for tag in row] for row in batch.tags.tolist()]
    assert tags == [["B-PER", "I-PER", "O", "O", "O", "O", "O", "B-LOC"], ["B-ORG", *["O"] * 7]]
    assert batch.entities == ((PERSON, PLACE), (Entity(0, 1, "ORG"),))
    assert (batch.relations, batch.markers, batch.labels, batch.features) == ((), None, None, {})


def test_dtypes(tokenizer):
    whole = {
        "index",
        "input_ids",
        "token_type_ids",
        "token_words",
        "word_starts",
        "characters",
        "tags",
        "labels",
    }
    masks = {"counted", "attention_mask", "word_mask", "view_mask"}
    relation = Relation(PERSON, PLACE, "lives")
    for task in ("ner", "re"):
        batch = collate(
            [Post("x", WORDS, relations=(relation,))], make_schema(tokenizer, task), tokenizer
        )
        for name in whole | masks:
            tensor = getattr(batch, name)
            assert tensor is None or tensor.dtype == (
                torch.long if name in whole else torch.bool
            ), name


def test_characters_are_bytes(tokenizer):
    words = ("été", LONG, "日")
    batch = collate([Post("x", words), Post("y", ("ab",))], make_schema(tokenizer), tokenizer)
    for row, spelled in enumerate([words, ("ab",)]):
        for column in range(batch.characters.shape[1]):
            word = spelled[column] if column < len(spelled) else ""
            expected = [byte + 1 for byte in word.encode()[:32]]
            assert batch.characters[row, column].tolist() == expected + [0] * (32 - len(expected))


def test_bioes_tags(tokenizer):
    schema = make_schema(tokenizer, tag_scheme="bioes")
    batch = collate([Post("x", WORDS, entities=(PERSON, PLACE))], schema, tokenizer)
    names = ["O", *(f"{prefix}-{name}" for name in ("LOC", "ORG", "PER") for prefix in "BIES")]
    assert [names[tag] for tag in batch.tags[0].tolist()] == [
        "B-PER",
        "E-PER",
        "O",
        "O",
        "O",
        "O",
        "O",
        "S-LOC",
    ]


@pytest.mark.parametrize(("scheme", "last"), [("bio", "I-LOC"), ("bioes", "E-LOC")])
def test_an_entity_cut_by_truncation(tokenizer, scheme, last):
    short = WordTokenizer(tokenizer.tokenizer, 8)  # six words of one subword each
    entities = (Entity(4, 9, "LOC"), Entity(10, 11, "PER"))
    batch = collate(
        [Post("x", ("a",) * 12, entities=entities)], make_schema(short, tag_scheme=scheme), short
    )
    prefixes = {"bio": "BI", "bioes": "BIES"}[scheme]
    names = ["O", *(f"{prefix}-{name}" for name in ("LOC", "ORG", "PER") for prefix in prefixes)]
    assert [names[tag] for tag in batch.tags[0].tolist()] == ["O", "O", "O", "O", "B-LOC", last]
    assert batch.entities == (entities,)
    assert batch.word_mask.tolist() == [[True] * 6]
    assert batch.characters.shape[:2] == batch.tags.shape == (1, 6)


def test_an_unknown_type_is_tagged_outside_but_stays_gold(tokenizer):
    entities = (Entity(0, 2, "ALIEN"), PLACE)
    batch = collate([Post("x", WORDS, entities=entities)], make_schema(tokenizer), tokenizer)
    assert batch.tags.tolist() == [[0, 0, 0, 0, 0, 0, 0, 1]]
    assert batch.entities == (entities,)


def test_re_batch_has_one_row_per_relation(tokenizer):
    relations = tuple(
        Relation(*pair)
        for pair in ((PERSON, PLACE, "works"), (PLACE, PERSON, "None"), (PLACE, PERSON, "?"))
    )
    posts = [
        Post("x", WORDS, relations=relations),
        Post("none", WORDS),
        Post("y", WORDS, relations=relations[:1]),
    ]
    batch = collate(posts, make_schema(tokenizer, "re"), tokenizer)
    assert batch.ids == ("x", "x", "x", "y")
    assert batch.relations == (*relations, relations[0])
    assert batch.labels.tolist() == [2, 0, -1, 2]
    assert batch.tags is None
    markers = tokenizer.tokenizer.convert_tokens_to_ids(["[unused1]", "[unused3]"])
    assert batch.input_ids.gather(1, batch.markers).tolist() == [markers] * 4
    words = batch.token_words.gather(1, batch.markers + 1).tolist()
    assert words == [[0, 7], [7, 0], [7, 0], [0, 7]]


def test_words_cut_off_in_front_of_a_relation(tokenizer):
    short = WordTokenizer(tokenizer.tokenizer, 8)
    relation = Relation(Entity(3, 4), Entity(4, 5), "lives")
    batch = collate([Post("x", ("a",) * 9, relations=(relation,))], make_schema(short, "re"), short)
    assert batch.word_mask.tolist() == [[False, False, False, True, True]]
    assert batch.word_starts.tolist() == [[0, 0, 0, 2, 5]]
    assert batch.characters.shape[:2] == batch.word_mask.shape


def test_padding_does_not_change_rows(tokenizer):
    """Each row of a batch equals its batch of one, with padding."""
    numbers = random.Random(2)
    posts = [Post(str(n), tuple(numbers.choices(WORDS, k=numbers.randint(1, 9)))) for n in range(8)]
    schema = make_schema(tokenizer)
    together = collate(posts, schema, tokenizer)
    assert together.input_ids.shape == (8, int(together.attention_mask.sum(1).max()))
    fill = {"input_ids": tokenizer.pad_id, "token_words": -1}
    for row, post in enumerate(posts):
        alone = collate([post], schema, tokenizer)
        for name in (
            "input_ids",
            "attention_mask",
            "text_mask",
            "token_words",
            "word_starts",
            "word_mask",
            "tags",
        ):
            own, full = getattr(alone, name)[0], getattr(together, name)[row]
            assert torch.equal(full[: len(own)], own), name
            assert (full[len(own) :] == fill.get(name, 0)).all(), name


@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_pixels_equal_the_files(tokenizer, pictures, resize):
    posts = [
        Post(
            "two crops too many",
            WORDS,
            pictures / "a.png",
            tuple(pictures / f"{name}.png" for name in "bcda"),
        ),
        Post("one crop", WORDS, pictures / "c.png", (pictures / "d.png",)),
        Post("nothing", WORDS),
        Post("crop only", WORDS, None, (pictures / "b.png",)),
    ]
    batch = collate(posts, make_schema(tokenizer), tokenizer, transform=ImageTransform(16, resize))
    expected = [["a", "b", "c"], ["c", "d", None], [None] * 3, [None, "b", None]]
    assert batch.view_mask.tolist() == [[name is not None for name in row] for row in expected]
    assert (batch.pixels.shape, batch.pixels.dtype) == ((4, 3, 3, 16, 16), torch.uint8)
    for views, row in zip(batch.pixels, expected, strict=True):
        for view, name in zip(views, row, strict=True):
            if name is None:
                assert not view.any()
            else:
                assert torch.equal(
                    view, to_view(load_picture(pictures / f"{name}.png"), 16, resize)
                )


def test_no_object_crops(tokenizer, pictures):
    post = Post("x", WORDS, pictures / "a.png", (pictures / "b.png",))
    batch = collate([post], make_schema(tokenizer, num_objects=0), tokenizer)
    assert batch.pixels.shape == (1, 1, 3, 16, 16)
    assert batch.view_mask.tolist() == [[True]]


def test_without_readable_views_there_are_no_pixels(tokenizer, pictures):
    instances = encode_posts(
        [Post("x", WORDS, pictures / "a.png"), Post("y", WORDS)], make_schema(tokenizer), tokenizer
    )
    mask_views(instances, {pictures / "a.png": "truncated"})
    batch = Collator(make_schema(tokenizer), tokenizer.pad_id)(instances, [0, 1])
    assert batch.pixels is None
    assert batch.view_mask.tolist() == [[False] * 3] * 2


@pytest.mark.parametrize(("name", "reason"), [("gone.png", "missing"), ("broken.png", "truncated")])
def test_a_picture_that_becomes_unreadable_after_set_up_is_masked(
    tokenizer, pictures, name, reason
):
    posts = [
        Post("x", WORDS, pictures / name, (pictures / "b.png",)),
        Post("y", WORDS, pictures / "c.png"),
    ]
    with pytest.warns(UserWarning, match=f"{name}: {reason}; the view is masked"):
        batch = collate(posts, make_schema(tokenizer), tokenizer)
    assert batch.view_mask.tolist() == [[False, True, False], [True, False, False]]
    assert not batch.pixels[0, 0].any()


def test_a_picture_above_max_pixels_is_masked(tokenizer, pictures):
    with pytest.warns(UserWarning, match="more than 1000 pixels"):
        batch = collate(
            [Post("x", WORDS, pictures / "a.png")],
            make_schema(tokenizer),
            tokenizer,
            transform=ImageTransform(16, max_pixels=1000),
        )
    assert batch.pixels is None


@pytest.fixture(scope="module")
def full_batch(tokenizer, pictures):
    relation = Relation(PERSON, PLACE, "lives")
    post = Post("x", WORDS, pictures / "a.png", entities=(PERSON, PLACE), relations=(relation,))
    batch = collate([post, post], make_schema(tokenizer, "re"), tokenizer)
    return replace(
        batch, tags=torch.ones(2, 8, dtype=torch.long), features={"vision": torch.ones(2, 3, 4)}
    )


def test_to_moves_every_tensor(full_batch):
    moved = full_batch.to("meta")
    for field in fields(Batch):
        before, after = getattr(full_batch, field.name), getattr(moved, field.name)
        if isinstance(before, Tensor):
            assert (after.device.type, after.shape, after.dtype) == (
                "meta",
                before.shape,
                before.dtype,
            ), field.name
        elif field.name not in ("features", "view_index"):
            assert after == before, field.name
    assert (
        full_batch.to("cpu").view_index.tolist()
        == full_batch.view_mask.flatten().nonzero().flatten().tolist()
    )
    assert moved.features["vision"].device.type == "meta"
    assert len(moved) == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="page-locked memory needs a GPU")
def test_pin_memory_pins_every_tensor(full_batch):
    pinned = full_batch.pin_memory()
    tensors = [
        value for field in fields(Batch) if isinstance(value := getattr(pinned, field.name), Tensor)
    ]
    assert all(tensor.is_pinned() for tensor in [*tensors, *pinned.features.values()])
    assert same_batches(replace(pinned, features={}), replace(full_batch, features={}))


@pytest.fixture(scope="module")
def demo_dataset(demo_root, tokenizer):
    """Instances of the demo corpus as a dataset."""

    def dataset(task) -> InstanceDataset:
        corpus = DemoCorpus(demo_root)
        labels = corpus.entity_types if task == "ner" else corpus.relation_labels
        schema = Schema(task, labels, tokenizer.vocab_size, max_tokens=32, image_size=16)
        return InstanceDataset(
            encode_posts(corpus.posts("valid"), schema, tokenizer),
            Collator(schema, tokenizer.pad_id),
        )

    return dataset


@pytest.mark.slow
@pytest.mark.parametrize("task", ["ner", "re"])
def test_workers_give_the_same_batches(demo_dataset, task):
    dataset = demo_dataset(task)
    batches = {}
    for workers in (0, 2):
        sampler = BucketSampler([len(instance) for instance in dataset.instances], 3, False)
        batches[workers] = list(
            DataLoader(dataset, sampler=sampler, batch_size=None, num_workers=workers)
        )
    assert len(batches[0]) == len(batches[2]) == -(-len(dataset) // 3)
    assert all(
        same_batches(left, right) for left, right in zip(batches[0], batches[2], strict=True)
    )
    assert any(batch.pixels is not None for batch in batches[0])


def test_a_pickled_dataset_holds_no_tensors(demo_dataset):
    """Each tensor would cost an open file in a spawned worker process."""
    dataset = demo_dataset("re")
    content = pickle.dumps(dataset)
    assert b"torch._utils" not in content
    draw = Draw(0, (0, 1), (True, True))
    assert same_batches(pickle.loads(content)[draw], dataset[draw])


def test_copies_are_not_counted(demo_dataset):
    dataset = demo_dataset("ner")
    batch = dataset[Draw(0, (3, 3, 0, 0), (True, False, True, False))]
    assert batch.ids == tuple(dataset.instances[n].post.id for n in (3, 3, 0, 0))
    assert batch.index.tolist() == [3, 3, 0, 0]
    assert batch.counted.tolist() == [True, False, True, False]
    assert torch.equal(batch.input_ids[0], batch.input_ids[1])


def test_a_context_is_attended_to_but_not_tagged(tokenizer):
    schema = make_schema(tokenizer)
    plain = collate(DESCRIBED, schema, tokenizer)
    batch = Collator(schema, tokenizer.pad_id)(
        encode_posts(DESCRIBED, schema, tokenizer, use_context=True), [0, 1]
    )
    tokens = [
        " ".join(tokenizer.tokenizer.convert_ids_to_tokens(row)) for row in batch.input_ids.tolist()
    ]
    assert (
        tokens[0]
        == "[CLS] jordan talks about the news ##room of washi ##ngton [SEP] the news ##room [SEP]"
    )
    assert tokens[1] == "[CLS] jordan [SEP]" + " [PAD]" * 12
    assert batch.token_type_ids.tolist() == [[0] * 11 + [1] * 4, [0] * 15]
    assert batch.attention_mask.tolist() == [[True] * 15, [True] * 3 + [False] * 12]
    assert batch.text_mask.sum(1).tolist() == plain.text_mask.sum(1).tolist()
    for name in ("word_starts", "word_mask", "characters", "tags"):
        assert torch.equal(getattr(batch, name), getattr(plain, name)), name


def test_contexts_are_left_out_by_default(tokenizer):
    schema = make_schema(tokenizer)
    bare = [replace(post, context=None) for post in DESCRIBED]
    assert same_batches(collate(DESCRIBED, schema, tokenizer), collate(bare, schema, tokenizer))


class Provider:
    """A source of fixed features, and of cached pixels if there are any."""

    def __init__(self, reads_pixels: bool, cached: Tensor | None = None) -> None:
        self.reads_pixels = reads_pixels
        self.cached = cached

    def pixels(self, instances, transform):
        return self.cached

    def attach(self, batch, instances):
        return replace(batch, features={"rows": torch.arange(len(instances))})


def test_pixels_and_features_of_a_provider(tokenizer, pictures):
    posts = [Post("x", WORDS, pictures / "a.png"), Post("y", WORDS)]
    schema = make_schema(tokenizer)
    decoded = collate(posts, schema, tokenizer)
    cached = torch.ones_like(decoded.pixels)
    for provider, expected in (
        (Provider(reads_pixels=False, cached=cached), None),
        (Provider(reads_pixels=True, cached=cached), cached),
        (Provider(reads_pixels=True), decoded.pixels),
    ):
        batch = collate(posts, schema, tokenizer, provider=provider)
        assert batch.features["rows"].tolist() == [0, 1]
        assert torch.equal(batch.view_mask, decoded.view_mask)
        assert batch.pixels is None if expected is None else torch.equal(batch.pixels, expected)


def test_crops_are_drawn_by_seed_epoch_and_index(tokenizer, pictures):
    crops = tuple(pictures / f"{name}.png" for name in "abcd")
    posts = [Post(str(n), WORDS, crops[0], crops) for n in range(2)]
    schema = make_schema(tokenizer)
    instances = encode_posts(posts, schema, tokenizer)
    for instance, post in zip(instances, posts, strict=True):
        instance.views = (post.image, *post.crops)
    dataset = InstanceDataset(instances, Collator(schema, tokenizer.pad_id), crop_seed=5)
    for epoch in range(4):
        batch = dataset[Draw(epoch, (1, 0), (True, True))]
        drawn = [sample_crops(instances[n], schema, f"5 {epoch} {n}") for n in (1, 0)]
        expected = Collator(schema, tokenizer.pad_id)(drawn, [1, 0])
        assert same_batches(batch, expected)
