"""Batches: what stands where, held against the posts and the picture files themselves."""

import pickle
import random
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from mmie.data.batching import Collator, InstanceDataset, encode_posts, mask_views, shuffle_pictures
from mmie.data.demo import DemoCorpus
from mmie.data.demo.tiny_encoders import write_tiny_bert
from mmie.data.encoding import WordTokenizer
from mmie.data.pictures import ImageTransform, load_picture, to_view
from mmie.data.sampler import BucketSampler
from mmie.types import Batch, Entity, Post, Relation, Schema

WORDS = ("Jordan", "\ufe0f", "talks", "about", "the", "newsroom", "of", "Washington")
LONG = "a" * 40
PERSON, PLACE = Entity(0, 2, "PER"), Entity(7, 8, "LOC")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    write_tiny_bert(folder, [" ".join(WORDS), LONG])
    return WordTokenizer.from_source(folder, 32)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Four pictures of different sizes, and two files that are none."""
    folder = tmp_path_factory.mktemp("pictures")
    numbers = random.Random(0)
    for name, size in {"a": (40, 30), "b": (20, 60), "c": (33, 33), "d": (50, 16)}.items():
        data = bytes(numbers.randrange(256) for _ in range(3 * size[0] * size[1]))
        Image.frombytes("RGB", size, data).save(folder / f"{name}.png")
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:200])
    return folder


def schema_for(tokenizer, task="ner", **changes) -> Schema:
    labels = ("LOC", "ORG", "PER") if task == "ner" else ("None", "lives", "works")
    settings = {"max_tokens": tokenizer.max_tokens, "num_objects": 2, "image_size": 16, **changes}
    return Schema(task, labels, tokenizer.vocab_size, **settings)


def collate(posts, schema, tokenizer, numbers=None, **settings) -> Batch:
    instances = encode_posts(posts, schema, tokenizer)
    return Collator(schema, tokenizer.pad_id, **settings)(
        instances, numbers or range(len(instances))
    )


def same_batches(left: Batch, right: Batch) -> bool:
    """Whether everything in two batches is equal."""
    pairs = [(getattr(left, field.name), getattr(right, field.name)) for field in fields(Batch)]
    return all(
        torch.equal(a, b) and a.dtype == b.dtype
        if isinstance(a, Tensor) and isinstance(b, Tensor)
        else a == b
        for a, b in pairs
    )


def test_ner_batch_says_what_the_posts_say(tokenizer):
    posts = [
        Post("x", WORDS, entities=(PERSON, PLACE)),
        Post("y", ("Jordan",), entities=(Entity(0, 1, "ORG"),)),
    ]
    batch = collate(posts, schema_for(tokenizer), tokenizer, [4, -3])
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


def test_types_of_tensors(tokenizer):
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
            [Post("x", WORDS, relations=(relation,))], schema_for(tokenizer, task), tokenizer
        )
        for name in whole | masks:
            tensor = getattr(batch, name)
            assert tensor is None or tensor.dtype == (
                torch.long if name in whole else torch.bool
            ), name


def test_characters_are_bytes(tokenizer):
    words = ("été", LONG, "日")
    batch = collate([Post("x", words), Post("y", ("ab",))], schema_for(tokenizer), tokenizer)
    for row, spelled in enumerate([words, ("ab",)]):
        for column in range(batch.characters.shape[1]):
            word = spelled[column] if column < len(spelled) else ""
            expected = [byte + 1 for byte in word.encode()[:32]]
            assert batch.characters[row, column].tolist() == expected + [0] * (32 - len(expected))


def test_bioes(tokenizer):
    schema = schema_for(tokenizer, tag_scheme="bioes")
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
def test_an_entity_that_truncation_cuts(tokenizer, scheme, last):
    short = WordTokenizer(tokenizer.tokenizer, 8)  # six words of one subword each
    entities = (Entity(4, 9, "LOC"), Entity(10, 11, "PER"))
    batch = collate(
        [Post("x", ("a",) * 12, entities=entities)], schema_for(short, tag_scheme=scheme), short
    )
    prefixes = {"bio": "BI", "bioes": "BIES"}[scheme]
    names = ["O", *(f"{prefix}-{name}" for name in ("LOC", "ORG", "PER") for prefix in prefixes)]
    assert [names[tag] for tag in batch.tags[0].tolist()] == ["O", "O", "O", "O", "B-LOC", last]
    assert batch.entities == (entities,)
    assert batch.word_mask.tolist() == [[True] * 6]
    assert batch.characters.shape[:2] == batch.tags.shape == (1, 6)


def test_a_type_that_the_model_does_not_know_is_outside_but_stays_gold(tokenizer):
    entities = (Entity(0, 2, "ALIEN"), PLACE)
    batch = collate([Post("x", WORDS, entities=entities)], schema_for(tokenizer), tokenizer)
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
    batch = collate(posts, schema_for(tokenizer, "re"), tokenizer)
    assert batch.ids == ("x", "x", "x", "y")
    assert batch.relations == (*relations, relations[0])
    assert batch.labels.tolist() == [2, 0, -1, 2]
    assert batch.tags is None
    markers = tokenizer.tokenizer.convert_tokens_to_ids(["[unused1]", "[unused3]"])
    assert batch.input_ids.gather(1, batch.markers).tolist() == [markers] * 4
    words = batch.token_words.gather(1, batch.markers + 1).tolist()
    assert words == [[0, 7], [7, 0], [7, 0], [0, 7]]


def test_re_words_cut_off_in_front(tokenizer):
    short = WordTokenizer(tokenizer.tokenizer, 8)
    relation = Relation(Entity(3, 4), Entity(4, 5), "lives")
    batch = collate([Post("x", ("a",) * 9, relations=(relation,))], schema_for(short, "re"), short)
    assert batch.word_mask.tolist() == [[False, False, False, True, True]]
    assert batch.word_starts.tolist() == [[0, 0, 0, 2, 5]]
    assert batch.characters.shape[:2] == batch.word_mask.shape


def test_padding_does_not_reach_the_other_rows(tokenizer):
    """Each row of a batch is its batch of one, and padding."""
    numbers = random.Random(2)
    posts = [Post(str(n), tuple(numbers.choices(WORDS, k=numbers.randint(1, 9)))) for n in range(8)]
    schema = schema_for(tokenizer)
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
def test_pixels_are_the_files(tokenizer, pictures, resize):
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
    batch = collate(posts, schema_for(tokenizer), tokenizer, transform=ImageTransform(16, resize))
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
    batch = collate([post], schema_for(tokenizer, num_objects=0), tokenizer)
    assert batch.pixels.shape == (1, 1, 3, 16, 16)
    assert batch.view_mask.tolist() == [[True]]


def test_no_readable_view_no_pixels(tokenizer, pictures):
    instances = encode_posts(
        [Post("x", WORDS, pictures / "a.png"), Post("y", WORDS)], schema_for(tokenizer), tokenizer
    )
    mask_views(instances, {pictures / "a.png": "truncated"})
    batch = Collator(schema_for(tokenizer), tokenizer.pad_id)(instances, [0, 1])
    assert batch.pixels is None
    assert batch.view_mask.tolist() == [[False] * 3] * 2


def test_mask_views_takes_out_what_cannot_be_read(tokenizer, pictures):
    a, b, c = (pictures / f"{name}.png" for name in "abc")
    instances = encode_posts(
        [Post("x", WORDS, a, (b, c)), Post("y", WORDS, b)], schema_for(tokenizer), tokenizer
    )
    mask_views(instances, {b: "missing"})
    assert [instance.views for instance in instances] == [(a, None, c), (None, None, None)]
    assert instances[0].post.crops == (b, c)


@pytest.mark.parametrize(("name", "reason"), [("gone.png", "missing"), ("broken.png", "truncated")])
def test_a_picture_that_goes_bad_after_set_up(tokenizer, pictures, name, reason):
    posts = [
        Post("x", WORDS, pictures / name, (pictures / "b.png",)),
        Post("y", WORDS, pictures / "c.png"),
    ]
    with pytest.warns(UserWarning, match=f"{name}: {reason}; the view is masked"):
        batch = collate(posts, schema_for(tokenizer), tokenizer)
    assert batch.view_mask.tolist() == [[False, True, False], [True, False, False]]
    assert not batch.pixels[0, 0].any()


def test_a_picture_above_max_pixels_is_masked(tokenizer, pictures):
    with pytest.warns(UserWarning, match="more than 1000 pixels"):
        batch = collate(
            [Post("x", WORDS, pictures / "a.png")],
            schema_for(tokenizer),
            tokenizer,
            transform=ImageTransform(16, max_pixels=1000),
        )
    assert batch.pixels is None


@pytest.fixture(scope="module")
def full_batch(tokenizer, pictures):
    relation = Relation(PERSON, PLACE, "lives")
    post = Post("x", WORDS, pictures / "a.png", entities=(PERSON, PLACE), relations=(relation,))
    batch = collate([post, post], schema_for(tokenizer, "re"), tokenizer)
    return replace(
        batch, tags=torch.ones(2, 8, dtype=torch.long), features={"vision": torch.ones(2, 3, 4)}
    )


def test_to_moves_every_tensor_and_keeps_the_rest(full_batch):
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


def test_a_dataset_can_be_sent_to_a_process_that_is_started(demo_dataset):
    """Without tensors, each of which would cost an open file there."""
    dataset = demo_dataset("re")
    content = pickle.dumps(dataset)
    assert b"torch._utils" not in content
    assert same_batches(pickle.loads(content)[0, [0, 1]], dataset[0, [0, 1]])


def test_numbers_below_zero_are_uncounted_copies(demo_dataset):
    dataset = demo_dataset("ner")
    batch = dataset[0, [3, -1 - 3, 0, -1 - 0]]
    assert batch.ids == tuple(dataset.instances[n].post.id for n in (3, 3, 0, 0))
    assert batch.index.tolist() == [3, 3, 0, 0]
    assert batch.counted.tolist() == [True, False, True, False]
    assert torch.equal(batch.input_ids[0], batch.input_ids[1])


def illustrated(groups) -> list[Post]:
    """As many posts of each image as ``groups`` say, each with crops of its own, in a mixed order."""
    posts = [
        Post(f"{image}-{n}", WORDS, Path(f"{image}.jpg"), (Path(f"{image}-{n}.png"),))
        for image, count in enumerate(groups)
        for n in range(count)
    ]
    return random.Random(0).sample(posts, len(posts))


@pytest.mark.parametrize(
    "groups", [[1] * 30, [1, 1], [5, 3, 2], [4, 4], [3, 1, 1, 1], [2, 7, 1, 1, 6, 1]]
)
def test_shuffled_pictures_are_all_others(groups):
    posts = illustrated(groups)
    for seed in range(10):
        shuffled = shuffle_pictures(posts, seed)
        assert all(post.image != other.image for post, other in zip(posts, shuffled, strict=True))
        assert sorted((post.image, post.crops) for post in shuffled) == sorted(
            (post.image, post.crops) for post in posts
        )
        assert [replace(post, image=None, crops=()) for post in shuffled] == [
            replace(post, image=None, crops=()) for post in posts
        ]


def test_shuffling_goes_by_its_seed():
    posts = illustrated([1] * 30)
    assert shuffle_pictures(posts, 1) == shuffle_pictures(posts, 1) != shuffle_pictures(posts, 2)


def test_shuffling_leaves_posts_without_pictures_without():
    bare, crop = Post("bare", WORDS), Post("crop", WORDS, None, (Path("c.png"),))
    shuffled = shuffle_pictures([bare, *illustrated([1, 1]), bare, crop], 0)
    assert shuffled[0] == shuffled[3] == bare
    assert shuffled[4].crops != crop.crops


def test_shuffling_what_cannot_be_shuffled():
    assert shuffle_pictures([], 0) == []
    assert shuffle_pictures([Post("x", WORDS)], 0) == [Post("x", WORDS)]
    one_image = illustrated([3])
    assert shuffle_pictures(one_image, 0) == one_image
    mostly_one = shuffle_pictures(illustrated([5, 1]), 0)
    assert sorted(post.image for post in mostly_one) == [Path("0.jpg")] * 5 + [Path("1.jpg")]


def test_shuffling_leaves_contexts_where_they_are():
    posts = [replace(post, context=post.id) for post in illustrated([1] * 10)]
    assert [post.context for post in shuffle_pictures(posts, 3)] == [post.id for post in posts]


DESCRIBED = [
    Post("x", WORDS, context="the newsroom", entities=(PERSON, PLACE)),
    Post("y", ("Jordan",), entities=(Entity(0, 1, "ORG"),)),
]


def test_a_context_is_attended_to_and_never_tagged(tokenizer):
    schema = schema_for(tokenizer)
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


def test_contexts_are_left_out_unless_asked_for(tokenizer):
    schema = schema_for(tokenizer)
    bare = [replace(post, context=None) for post in DESCRIBED]
    assert same_batches(collate(DESCRIBED, schema, tokenizer), collate(bare, schema, tokenizer))


def test_every_relation_of_a_post_gets_its_context(tokenizer):
    relations = (Relation(PERSON, PLACE, "works"), Relation(PLACE, PERSON, "None"))
    posts = [replace(DESCRIBED[0], relations=relations)]
    plain, described = (
        encode_posts(posts, schema_for(tokenizer, "re"), tokenizer, asked)
        for asked in (False, True)
    )
    for without, with_context in zip(plain, described, strict=True):
        assert with_context.text.input_ids[: len(without)] == without.text.input_ids
        assert with_context.text.context_length == 4
        assert with_context.text.markers == without.text.markers
