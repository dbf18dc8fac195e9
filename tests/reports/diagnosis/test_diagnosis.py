"""The pages that tell why: what they are made of, that they stand alone, and the command that writes them."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.command import run, succeed, tiny_options
from helpers.methods import build_module, instance_without_views, make_batch, perturb
from PIL import Image
from test_contract import METHODS
from torch.nn import functional

from mmie.blocks.clip import ClipVectors
from mmie.reports.diagnosis.diagnosis import (
    DiagnosisError,
    DiagnosisTarget,
    diagnose,
    diagnose_post,
    diagnose_split,
    find_post,
    read_data_settings,
    with_other_pictures,
)
from mmie.reports.diagnosis.figures import (
    colours,
    embed,
    heat,
    histogram,
    legend,
    path_diagram,
    picture_uri,
    spread,
)
from mmie.reports.diagnosis.page import render_post, render_split

VOID = {"meta", "img"}


@pytest.fixture
def build(request, demo_data):
    """A method with random weights, and the demo corpus's test split."""

    def build(name, task="ner", **changes):
        case = METHODS[name]
        encoder = request.getfixturevalue(case.encoder)
        data = demo_data(task, encoder)
        module = perturb(
            build_module(
                case.method, data.schema, **{"encoder": encoder, **case.arguments, **changes}
            )
        )
        return DiagnosisTarget(Path("runs/x/best.ckpt"), module, data, "test")

    return build


class Checker(HTMLParser):
    """Text and addresses of a page; every tag must be closed in its turn."""

    def __init__(self, page):
        super().__init__()
        self.open, self.text, self.addresses, self.tags = [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [
            value for name, value in attributes if name in ("src", "href", "srcset", "action")
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def check(page):
    """The page is whole and stands alone; its checker."""
    checker = Checker(page)
    assert all(address.startswith("data:image/jpeg;base64,") for address in checker.addresses)
    assert not re.search(r"https?:|url\(|@import|<script|nan\b", page)
    return checker


@pytest.mark.parametrize("task", ["ner", "re"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_page_for_a_post(build, name, task):
    target = build(name, task)
    instance = next(
        found for found in target.instances if sum(view is not None for view in found.views) > 1
    )
    page = render_post(target, diagnose_post(target, instance.post.id))
    text = "".join(check(page).text)
    assert all(word in text for word in instance.post.words)
    assert instance.post.id in text
    assert "support" in text
    for heading, methods in {
        "Paths": {"rap"},
        "Similarity": {"imm"},
        "Correlation": {"dghc"},
    }.items():
        assert (heading in re.findall(r"<h2>(\w+)</h2>", page)) == (name in methods)
    assert ("Attention of words to views" in text) == (
        name in {"hvpnet", "hvpnet_reference", "rsrnet", "dghc"}
    )
    assert ("tanh(β)" in text) == (name == "rap")
    if task == "re":
        assert instance.relation.label in text


@pytest.mark.parametrize(
    ("name", "task", "told"),
    [
        ("text_only", "re", {"Maps"}),
        ("hvpnet", "ner", {"Attention", "Gates", "scale 4", "Maps"}),
        ("dghc", "re", {"Attention", "Gates", "Correlation coefficients C of text and picture"}),
        (
            "rap",
            "ner",
            {"Paths", "Routing vectors of posts", "Relevance gate", "The same without the prompt"},
        ),
        ("mlnet", "ner", {"Match of text and picture", "another's picture"}),
        ("imm", "ner", {"Similarity of text and picture, learned", "other pictures"}),
    ],
)
def test_a_page_for_a_split(build, name, task, told):
    target = build(name, task)
    diagnoses, swapped = diagnose_split(target, 12)
    assert len(diagnoses) == 12
    assert len(swapped) == (12 if name == "mlnet" else 0)
    page = render_split(target, diagnoses, swapped)
    text = "".join(check(page).text)
    assert [part for part in told if part not in text] == []
    assert page.count("<image") == (
        sum(f.instance.views[0] is not None for f in diagnoses) if name == "rap" else 0
    )


@pytest.mark.parametrize("name", METHODS)
def test_a_split_without_pictures_has_a_page(build, name):
    target = build(name)
    instances = [instance_without_views(instance) for instance in target.instances[:5]]
    page = render_split(target, diagnose(target, instances), diagnose(target, instances))
    assert "<image" not in page
    assert not check(page).addresses
    check(render_post(target, diagnose(target, instances[:1])))


def test_posts_with_and_without_pictures_share_a_page(build):
    target = build("imm")
    instances = [
        *target.instances[:16],
        instance_without_views(target.instances[0]),
    ]  # alone in its batch
    diagnoses = diagnose(target, instances)
    assert "learned_similarity" not in diagnoses[-1].values
    assert "Similarity of text and picture" in render_split(target, diagnoses)


def test_texts_are_escaped(build):
    target = build("rap")
    for place, instance in enumerate(target.instances[:9]):
        words = ("<script>alert('x')</script>", *instance.post.words[1:])
        target.instances[place] = replace(
            instance, post=replace(instance.post, id=f"{place}<i>&", words=words)
        )
    for page in (
        render_post(target, diagnose_post(target, "0<i>&")),
        render_split(target, *diagnose_split(target, 9)),
    ):
        assert not {"script", "i"} & set(check(page).tags)
        assert "&lt;script&gt;" in page


def test_findings_are_what_the_method_says_of_a_post_alone(build):
    target = build("hvpnet")
    diagnoses = diagnose(target, target.instances)
    assert [diagnosis.instance for diagnosis in diagnoses] == target.instances
    shortest = min(diagnoses, key=lambda diagnosis: len(diagnosis.instance.post.words))
    instance = shortest.instance
    alone = target.module.diagnose(make_batch(target.data, [instance]))
    assert shortest.values.keys() == alone.keys()
    for name, values in shortest.values.items():
        torch.testing.assert_close(values, alone[name][0], rtol=1e-4, atol=1e-5)
    assert shortest.prediction == target.module(make_batch(target.data, [instance]))[0]


def test_a_post_with_several_relations_has_several_sections(build):
    target = build("text_only", "re")
    first = target.instances[0]
    target.instances.append(replace(first, label=0))
    try:
        diagnoses = diagnose_post(target, first.post.id)
        assert render_post(target, diagnoses).count("<h2>Relation ") == len(diagnoses) == 2
    finally:
        target.instances.pop()


def test_an_unknown_post_is_answered_with_those_of_like_names(build):
    target = build("text_only")
    known = target.instances[3].post.id
    assert [found.post.id for found in find_post(target, known)] == [known]
    with pytest.raises(DiagnosisError, match=re.escape(known)):
        find_post(target, f"{known}x")
    with pytest.raises(DiagnosisError, match=re.escape(target.instances[0].post.id)):
        find_post(target, "~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~")


def test_other_pictures_are_others(build):
    target = build("mlnet")
    instances = target.instances
    others = with_other_pictures(target, instances)
    assert [other.post.words for other in others] == [instance.post.words for instance in instances]
    for instance, other in zip(instances, others, strict=True):
        assert len(other.views) == len(instance.views)
        assert other.views[0] != instance.views[0]
        assert other.views[0] == other.post.image
    assert {other.views[0] for other in others} == {instance.views[0] for instance in instances}


def test_clips_vectors_are_computed_for_a_method_that_compares_with_them(build, tiny_clip):
    target = build("imm", clip=str(tiny_clip))
    diagnoses = diagnose(target, target.instances[:3])
    clip, batch = (
        ClipVectors(str(tiny_clip), torch.device("cpu")),
        make_batch(target.data, target.instances[:3]),
    )
    texts = clip.texts([" ".join(instance.post.words) for instance in target.instances[:3]])
    cosines = (
        functional.normalize(texts, dim=-1)
        @ functional.normalize(clip.pictures(batch.pixels[:, 0]), dim=-1).T
    )
    found = torch.stack([diagnosis.values["clip_similarity"] for diagnosis in diagnoses])
    torch.testing.assert_close(found, cosines.clamp(min=0), rtol=1e-4, atol=1e-5)
    assert "CLIP" in render_post(target, diagnoses[:1])


def test_without_clip_the_page_does_without(build, tmp_path):
    target = build("imm", clip=str(tmp_path))
    with pytest.warns(UserWarning, match="left out"):
        diagnoses = diagnose(target, target.instances[:2])
    assert "clip_similarity" not in diagnoses[0].values
    assert "learned_similarity" in diagnoses[0].values


def test_histograms_hold_shares():
    chart = histogram("x", {"a": [-5.0, 0.1, 0.1, 0.9], "b": []}, 0, 1, bins=4)
    assert chart["series"][0]["shares"] == [0.75, 0, 0, 0.25]
    assert chart["series"][1] == {"name": "b", "count": 0, "mean": 0.0, "shares": [0.0] * 4}
    assert chart["top"] == 0.75


def test_spreads_are_quantiles():
    assert spread(np.arange(11.0)) == {"low": 1.0, "middle": 5.0, "high": 9.0}


def test_heats_are_relative_to_the_largest_number():
    table = heat("x", ["a"], ["1", "2"], torch.tensor([[1.0, -4.0]]))
    assert (table["top"], table["rows"]) == (4.0, [("a", [1.0, -4.0])])
    assert heat("x", ["a"], ["1"], torch.zeros(1, 1))["top"] == 1.0


def test_rare_labels_share_a_colour():
    labels = [f"l{number:02}" for number in range(12) for _ in range(20 - number)]
    numbers = colours(labels)
    assert [numbers[f"l{number:02}"] for number in range(12)] == [*range(9), 9, 9, 9]
    assert legend(labels)[-1] == ("other", 9)
    assert colours(["b", "a", "b"]) == {"a": 0, "b": 1}


def test_maps_keep_groups_together():
    generator = np.random.default_rng(0)
    groups = np.repeat([[0.0], [9.0]], 15, axis=0) + generator.normal(0, 0.1, (30, 5))
    places = embed(groups)
    assert places.min() == 0
    assert places.max() == 1
    near = np.linalg.norm(places[:15] - places[:15].mean(0), axis=1).max()
    assert near < np.linalg.norm(places[:15].mean(0) - places[15:].mean(0))
    assert np.array_equal(places, embed(groups))
    assert embed(groups[:5]) is None
    assert embed(np.ones((20, 3))) is None


def test_a_path_diagram_has_a_line_for_every_weight():
    weights = np.zeros((3, 2, 2))
    weights[:2], weights[2, :, 0] = np.arange(8).reshape(2, 2, 2), (8, 9)
    diagram = path_diagram(weights, ["a", "b"])
    assert [node["name"] for node in diagram["nodes"]] == ["a", "b"] * 3 + ["out"]
    assert [line["weight"] for line in diagram["lines"]] == list(range(10))
    places = {(node["x"], node["y"]) for node in diagram["nodes"]}
    assert all(
        (line["x1"], line["y1"]) in places and (line["x2"], line["y2"]) in places
        for line in diagram["lines"]
    )
    assert all(0 < x < diagram["width"] and 0 < y < diagram["height"] for x, y in places)


def test_pictures_become_small_data(tmp_path):
    Image.new("RGB", (100, 50), "red").save(tmp_path / "a.png")
    data = picture_uri(tmp_path / "a.png", 40).removeprefix("data:image/jpeg;base64,")
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (40, 20)
    assert picture_uri(None, 40) is None
    assert picture_uri(tmp_path / "b.png", 40) is None


def test_settings_come_from_the_run_or_from_a_named_file(tmp_path):
    (tmp_path / "config.yaml").write_text("data: {task: ner}")
    assert read_data_settings(tmp_path / "best.ckpt") == {"task": "ner"}
    assert read_data_settings(tmp_path / "none" / "best.ckpt", tmp_path / "config.yaml") == {
        "task": "ner"
    }
    for text in ("model: 1", "", "data: ["):
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(DiagnosisError, match=r"config.yaml.*--config"):
            read_data_settings(tmp_path / "best.ckpt")


def test_the_command_writes_pages_of_a_run(demo_root, tmp_path):
    folder = tmp_path / "run"
    succeed("fit", *tiny_options("rap", demo_root, folder), "--trainer.limit_train_batches=2")
    checkpoint, split, post = (
        f"--checkpoint={folder / 'best.ckpt'}",
        tmp_path / "new" / "split.html",
        tmp_path / "p.html",
    )
    assert succeed("diagnose", checkpoint, "--sample=10", f"--out={split}").out.strip() == str(
        split
    )
    assert "10 instances" in split.read_text(encoding="utf-8")
    known = find_ids(demo_root)[2]
    succeed("diagnose", checkpoint, f"--post={known}", "--split=valid", f"--out={post}")
    assert f"post {known}" in post.read_text(encoding="utf-8")
    check(post.read_text(encoding="utf-8"))
    refuse(run("diagnose", checkpoint, "--post=nobody"), "nobody", "has no such post")
    refuse(run("diagnose", checkpoint, "--split=dev"), "split", "train")
    refuse(
        run("diagnose", checkpoint, f"--data.corpus.root={tmp_path / 'gone'}"),
        "gone",
        "no such folder",
    )
    (folder / "config.yaml").unlink()
    refuse(run("diagnose", checkpoint), "config.yaml", "--config")
    refuse(run("diagnose"), "checkpoint")


def find_ids(root):
    return re.findall(
        r'^{"id": "(.+?)"', (root / "valid.jsonl").read_text(encoding="utf-8"), re.MULTILINE
    )


def refuse(outcome, *parts):
    assert outcome.status in (1, 2)
    assert outcome.err.startswith("mmie: ")
    assert outcome.err.count("\n") == 1
    assert [part for part in parts if part not in outcome.err] == []
