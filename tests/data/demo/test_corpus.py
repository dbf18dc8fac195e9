import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from rich.console import Console
from seqeval.metrics import f1_score
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score as multiclass_f1
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import AutoTokenizer

from mmie.data.corpora.base import CorpusError
from mmie.data.demo import DemoBounds, DemoCorpus, TextBound, render_bounds, write_demo
from mmie.data.demo.contexts import THINGS
from mmie.data.demo.posts import Sentences
from mmie.tags import entities_to_tags
from mmie.types import NO_RELATION, SPLITS, Entity

SMALL = {"train": 48, "valid": 40, "test": 40}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "corpus"
    write_demo(folder)
    return folder


@pytest.fixture(scope="module")
def corpus(root):
    return DemoCorpus(root)


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def decided_by(post):
    return post.id.split("-")[1]


def by_words(posts):
    groups = defaultdict(list)
    for post in posts:
        groups[post.words].append(post)
    return groups


def test_same_seed_same_bytes_even_in_another_process(tmp_path):
    write_demo(tmp_path / "here", **SMALL)
    script = (
        f"from mmie.data.demo import write_demo; write_demo({str(tmp_path / 'there')!r}, **{SMALL})"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
    assert contents(tmp_path / "here") == contents(tmp_path / "there")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "there"]


def test_another_seed_differs_in_words_and_pictures(tmp_path):
    for seed in (1, 2):
        write_demo(tmp_path / str(seed), seed=seed, **SMALL)
    first, second = contents(tmp_path / "1"), contents(tmp_path / "2")
    assert first["test.jsonl"] != second["test.jsonl"]
    assert not {data for name, data in first.items() if "images" in name} & set(second.values())


@pytest.mark.parametrize("split", SPLITS)
def test_composition(corpus, split):
    posts = corpus.posts(split)
    assert len(posts) == {"train": 960, "valid": 240, "test": 480}[split]
    shares = {name: count / len(posts) for name, count in Counter(map(decided_by, posts)).items()}
    assert shares == pytest.approx({"picture": 0.7, "noise": 0.2, "both": 0.1})
    assert all(len(post.entities) == 2 and len(post.relations) == 1 for post in posts)
    assert all(5 <= len(post.words) <= 20 for post in posts)
    assert all((post.relations[0].head, post.relations[0].tail) == post.entities for post in posts)
    types = Counter(entity.type for post in posts for entity in post.entities)
    assert len(types) == 4
    assert len(set(types.values())) == 1


@pytest.mark.parametrize("split", SPLITS)
def test_groups_of_four(corpus, split):
    for posts in by_words(corpus.posts(split)).values():
        assert len({decided_by(post) for post in posts}) == 1
        spans = {tuple((entity.start, entity.end) for entity in post.entities) for post in posts}
        types = {entity.type for post in posts for entity in post.entities}
        labels = {relation.label for post in posts for relation in post.relations}
        expected = {"picture": (4, 4, 4), "noise": (4, 1, 1), "both": (1, 1, 1)}[
            decided_by(posts[0])
        ]
        assert (len(posts), len(types), len(labels)) == expected
        assert len(spans) == 1
        assert all(len({entity.type for entity in post.entities}) == 1 for post in posts)


def test_none_only_where_the_text_says_so(corpus):
    posts = [post for split in SPLITS for post in corpus.posts(split)]
    unrelated = [post for post in posts if post.relations[0].label == NO_RELATION]
    assert unrelated
    assert all(("unrelated" in post.words) == (post in unrelated) for post in posts)
    assert all(decided_by(post) != "picture" for post in unrelated)


def test_no_sentence_or_picture_twice(corpus):
    words = [set(by_words(corpus.posts(split))) for split in SPLITS]
    assert len(set.union(*words)) == sum(map(len, words))
    pictures = [post.image.read_bytes() for split in SPLITS for post in corpus.posts(split)]
    assert len(set(pictures)) == len(pictures)


def test_names_do_not_give_the_type_away(corpus):
    counts = defaultdict(Counter)
    for post in corpus.posts("test"):
        if decided_by(post) == "picture":
            for entity in post.entities:
                counts[post.words[entity.start : entity.end]][entity.type] += 1
    assert len(counts) >= 20
    assert all(len(types) == 4 and len(set(types.values())) == 1 for types in counts.values())


def test_words_that_exercise_alignment_occur(corpus):
    words = {word for post in corpus.posts("test") for word in post.words}
    assert {"\ufe0f", "\U0001f602", "#weekend", "@newsdesk"} <= words
    spans = [entity for post in corpus.posts("test") for entity in post.entities]
    assert {entity.end - entity.start for entity in spans} == {1, 2}
    assert any(entity.start == 0 for entity in spans)
    assert any(
        entity.end == len(post.words) for post in corpus.posts("test") for entity in post.entities
    )


def best_constant_f1(items):
    """Best F1 of any function of the keys, given gold (key, answer) pairs: answer the k surest keys, for the best k."""
    predictions = defaultdict(Counter)
    for key, prediction in items:
        predictions[key][prediction] += 1
    hits_and_sizes = [
        (max(found[a] for a in found if a) if any(found) else 0, found.total())
        for found in predictions.values()
    ]
    hits_and_sizes.sort(key=lambda pair: -pair[0] / pair[1])
    gold = sum(prediction is not None for _, prediction in items)
    hits, sizes = np.cumsum(hits_and_sizes, axis=0).T
    return (2 * hits / (gold + sizes)).max()


@pytest.mark.parametrize("split", SPLITS)
def test_bounds_are_the_best_that_functions_of_the_words_reach(corpus, split):
    posts = corpus.posts(split)
    entities = [((post.words, e.start, e.end), e.type) for post in posts for e in post.entities]
    labels = [
        (post.words, r.label if r.label != NO_RELATION else None)
        for post in posts
        for r in post.relations
    ]
    assert best_constant_f1(entities) == pytest.approx(corpus.bounds.score("ner", split), abs=1e-12)
    assert best_constant_f1(labels) == pytest.approx(corpus.bounds.score("re", split), abs=1e-12)


@pytest.mark.parametrize("noise", [0.0, 0.2, 0.8])
def test_text_oracles_scored_by_other_libraries_reach_the_bounds(tmp_path, noise):
    write_demo(tmp_path / "demo", noise=noise, **SMALL)
    corpus = DemoCorpus(tmp_path / "demo")
    posts, known = corpus.posts("test"), {}
    for words, group in by_words(corpus.posts("test")).items():
        known[words] = group[0]
    gold = [entities_to_tags(post.entities, len(post.words), "bio") for post in posts]
    guess = [entities_to_tags(known[post.words].entities, len(post.words), "bio") for post in posts]
    sure = [decided_by(post) != "picture" for post in posts]
    abstain = [tags if keep else ["O"] * len(tags) for tags, keep in zip(guess, sure, strict=True)]
    assert max(f1_score(gold, guess), f1_score(gold, abstain)) == pytest.approx(
        corpus.bounds.score("ner")
    )

    gold = [post.relations[0].label for post in posts]
    guess = [known[post.words].relations[0].label for post in posts]
    abstain = [label if keep else NO_RELATION for label, keep in zip(guess, sure, strict=True)]
    labels = [label for label in corpus.relation_labels if label != NO_RELATION]
    scores = [
        multiclass_f1(gold, prediction, labels=labels, average="micro")
        for prediction in (guess, abstain)
    ]
    assert max(scores) == pytest.approx(corpus.bounds.score("re"))


def test_bound_prefers_silence_where_the_text_decides_most():
    assert TextBound("ner", "test", 9, 3).score == pytest.approx(
        max(2 * 9 / (12 + 9), (9 + 0.75) / 12)
    )
    assert TextBound("ner", "test", 9, 3).score == pytest.approx(18 / 21)
    assert TextBound("ner", "test", 0, 4).score == 0.25
    assert TextBound("ner", "test", 4, 0).score == 1.0


def test_crops_are_parts_of_the_picture(corpus):
    numbers = Counter()
    for post in corpus.posts("test"):
        numbers[len(post.crops)] += 1
        picture = np.asarray(Image.open(post.image))
        assert picture.shape == (64, 64, 3)
        windows = {}
        for crop in post.crops:
            part = np.asarray(Image.open(crop))
            shape = part.shape[:2]
            if shape not in windows:
                windows[shape] = np.lib.stride_tricks.sliding_window_view(
                    picture, shape, axis=(0, 1)
                )
            found = (
                windows[shape][..., 0, 0] == part[0, 0]
            )  # (top, left, colour): cheap candidates first
            places = np.argwhere(found.all(-1))
            height, width = shape
            assert any((picture[y : y + height, x : x + width] == part).all() for y, x in places)
    assert set(numbers) == {0, 1, 2, 3}
    assert numbers[0] > 100


def features(posts):
    torch.manual_seed(0)
    backbone = timm.create_model("test_resnet", pretrained=False, features_only=True).eval()
    pictures = np.stack([np.asarray(Image.open(post.image)) for post in posts])
    pixels = (
        torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    )  # (posts, 3, height, width)
    with torch.no_grad():
        return backbone((pixels - 0.45) / 0.225)[-1].mean((2, 3)).numpy()


def test_pictures_show_the_type_except_where_they_are_noise(corpus):
    def posts(split, *kinds):
        return [
            post
            for post in corpus.posts(split)
            if decided_by(post) in kinds and len(post.crops) < 2
        ]

    def types(posts):
        return [post.entities[0].type for post in posts]

    train, fitting, noise = (
        posts("train", "picture"),
        posts("test", "picture", "both"),
        posts("test", "noise"),
    )
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(
        features(train), types(train)
    )
    assert probe.score(features(fitting), types(fitting)) > 0.9
    assert probe.score(features(noise), types(noise)) < 0.45


def test_encoder_knows_every_word(corpus, root):
    tokenizer = AutoTokenizer.from_pretrained(root / "encoder", local_files_only=True)
    for split in SPLITS:
        words = [list(post.words) for post in corpus.posts(split)]
        encoded = tokenizer(words, is_split_into_words=True)["input_ids"]
        assert not any(tokenizer.unk_token_id in ids for ids in encoded)
        assert max(map(len, encoded)) < 64


def test_bounds_file_reads_back_and_is_printed(corpus, root):
    assert DemoBounds.read(root / "bounds.json") == corpus.bounds
    stored = json.loads((root / "bounds.json").read_text())["bounds"]
    assert [entry["score"] for entry in stored] == [bound.score for bound in corpus.bounds.bounds]
    console = Console(width=120)
    with console.capture() as capture:
        console.print(render_bounds(corpus.bounds))
    lines = capture.get().splitlines()
    assert any("ner" in line and "test" in line and "0.475" in line for line in lines)
    assert any("re" in line and "test" in line and "0.417" in line for line in lines)


def test_corpus_is_written_where_there_is_none_and_only_there(tmp_path, root):
    corpus = DemoCorpus(tmp_path / "new" / "demo")
    assert contents(tmp_path / "new" / "demo") == contents(root)
    stamp = (tmp_path / "new" / "demo").stat().st_mtime_ns
    assert DemoCorpus(tmp_path / "new" / "demo").bounds == corpus.bounds
    assert (tmp_path / "new" / "demo").stat().st_mtime_ns == stamp
    assert corpus.tasks == ("ner", "re")
    assert corpus.posts("test")[0].entities[0] == Entity(*_first_entity(root))


def _first_entity(root):
    entity = json.loads((root / "test.jsonl").read_text().splitlines()[0])["entities"][0]
    return entity["start"], entity["end"], entity["type"]


def test_a_demo_corpus_is_replaced_and_an_empty_folder_filled(tmp_path):
    (tmp_path / "demo").mkdir()
    for seed in (1, 2):
        write_demo(tmp_path / "demo", seed=seed, **SMALL)
    assert DemoCorpus(tmp_path / "demo").bounds.seed == 2
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


@pytest.mark.parametrize("content", ["{}", "[]", "not json", '{"layout": "another"}'])
def test_a_foreign_folder_is_left_alone(tmp_path, content):
    (tmp_path / "bounds.json").write_text(content)
    for make in (lambda: write_demo(tmp_path, **SMALL), lambda: DemoCorpus(tmp_path)):
        with pytest.raises(CorpusError, match="no demo corpus"):
            make()
    assert contents(tmp_path) == {"bounds.json": content.encode()}


def test_a_file_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "demo").write_text("mine")
    with pytest.raises(CorpusError, match="no demo corpus"):
        write_demo(tmp_path / "demo", **SMALL)
    assert (tmp_path / "demo").read_text() == "mine"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"test": 41}, "41 posts: expected a multiple of 4"),
        ({"valid": 0}, "0 posts: expected"),
        ({"noise": 0.9}, "noise is 0.9"),
        ({"noise": -0.1}, "noise is -0.1"),
        ({"size": 16}, "size is 16"),
    ],
)
def test_bad_numbers_leave_nothing_behind(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        write_demo(tmp_path / "demo", **{**SMALL, **changed})
    assert list(tmp_path.iterdir()) == []


def test_running_out_of_sentences_is_said():
    class Constant:
        def choice(self, count, size, replace):
            return [0, 1]

        def integers(self, count):
            return 0

    sentences = Sentences(Constant())
    words = sentences.draw().words
    assert words == ("Amazon", "and", "Apollo", "tonight", "!")
    with pytest.raises(ValueError, match="ask for fewer posts"):
        sentences.draw()
    assert all(a != b for a, b in pairwise([words, sentences.draw("PER").words]))


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """The variant in which contexts decide."""
    folder = tmp_path_factory.mktemp("demo") / "described"
    write_demo(folder, context=True)
    return DemoCorpus(folder)


def items_by(key, posts):
    """Keys and answers of both tasks: of every entity, and of every post's relation."""
    entities = [((key(post), e.start, e.end), e.type) for post in posts for e in post.entities]
    labels = [
        (key(post), r.label if r.label != NO_RELATION else None)
        for post in posts
        for r in post.relations
    ]
    return {"ner": entities, "re": labels}


@pytest.mark.parametrize("split", SPLITS)
def test_words_and_context_reach_one_where_words_reach_the_same_bound(corpus, described, split):
    posts, plain = described.posts(split), corpus.posts(split)
    assert [(post.words, post.entities, post.relations) for post in posts] == [
        (post.words, post.entities, post.relations) for post in plain
    ]
    for task, items in items_by(lambda post: post.words, posts).items():
        assert best_constant_f1(items) == pytest.approx(
            described.bounds.score(task, split), abs=1e-12
        )
        assert described.bounds.score(task, split) == corpus.bounds.score(task, split)
    for items in items_by(lambda post: (post.words, post.context), posts).values():
        assert best_constant_f1(items) == 1.0


def kind_of(context):
    (kind,) = [kind for kind, things in THINGS.items() if any(thing in context for thing in things)]
    return kind


def test_a_context_gives_the_type_away_only_where_the_words_do_not(described):
    posts = [post for split in SPLITS for post in described.posts(split)]
    for post in posts:
        assert (post.id.split("-")[1] != "context") or kind_of(post.context) == post.entities[
            0
        ].type
    noise = [post for post in posts if decided_by(post) != "context"]
    hits = sum(kind_of(post.context) == post.entities[0].type for post in noise)
    assert Counter(map(decided_by, posts))["context"] == 0.7 * len(posts)
    assert 0.18 < hits / len(noise) < 0.32
    assert len({post.context for post in posts}) == 4 * 4 * 4


def test_pictures_say_nothing_where_the_context_decides(described):
    def probe_data(split):
        posts = [
            post
            for post in described.posts(split)
            if decided_by(post) == "context" and len(post.crops) < 2
        ]
        return features(posts), [post.entities[0].type for post in posts]

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(
        *probe_data("train")
    )
    assert probe.score(*probe_data("test")) < 0.36


def test_the_variant_is_written_down_and_printed(described):
    assert described.bounds.context is True
    assert DemoBounds.read(described.root / "bounds.json") == described.bounds
    console = Console(width=120)
    with console.capture() as capture:
        console.print(render_bounds(described.bounds))
    assert "text and context" in capture.get()


def test_the_plain_corpus_does_not_mention_contexts(root):
    assert "context" not in (root / "bounds.json").read_text()
    assert all("context" not in (root / f"{split}.jsonl").read_text() for split in SPLITS)


def test_the_variants_encoder_knows_its_contexts(described):
    tokenizer = AutoTokenizer.from_pretrained(described.root / "encoder", local_files_only=True)
    for post in described.posts("test"):
        ids = tokenizer(" ".join(post.words), post.context)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert len(ids) <= 64


def test_the_variant_has_the_same_bytes_again(tmp_path):
    for name in ("a", "b"):
        write_demo(tmp_path / name, context=True, **SMALL)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
