"""The pages of every method: what they show, and that they load nothing."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.html import parse_static_page
from helpers.methods import instance_without_views
from helpers.run_folders import write_run
from test_contract import METHODS

from mmie.reports.diagnosis.diagnosis import diagnose, diagnose_post, diagnose_split
from mmie.reports.diagnosis.page import (
    default_page,
    is_diagnosis,
    render_post,
    render_split,
    write_page,
)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["ner", "re"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_page_for_a_post(build_target, name, task):
    target = build_target(name, task)
    with_crops = (
        instance
        for instance in target.instances
        if sum(view is not None for view in instance.views) > 1
    )
    instance = next(with_crops)
    page = render_post(target, diagnose_post(target, instance.post.id))
    text = "".join(parse_static_page(page).text)
    assert all(word in text for word in instance.post.words)
    assert instance.post.id in text
    assert "support" in text
    headings = re.findall(r"<h2>(\w+)</h2>", page)
    for heading, method in {"Paths": "rap", "Similarity": "imm", "Correlation": "dghc"}.items():
        assert (heading in headings) == (name == method)
    with_prefix = {"hvpnet", "hvpnet_reference", "rsrnet", "dghc"}
    assert ("Attention of words to views" in text) == (name in with_prefix)
    assert ("tanh(β)" in text) == (name == "rap")
    if task == "re":
        assert instance.relation.label in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "task", "parts"),
    [
        ("text_only", "re", {"Maps"}),
        ("hvpnet", "ner", {"Attention", "Gates", "scale 4", "Maps"}),
        ("dghc", "re", {"Attention", "Gates", "Correlation coefficients C of text and picture"}),
        ("rap", "ner", {"Paths", "Routing vectors of posts", "Relevance gate"}),
        ("mlnet", "ner", {"Match of text and picture", "another's picture"}),
        ("imm", "ner", {"Similarity of text and picture, learned", "other pictures"}),
    ],
)
def test_a_page_for_a_split(build_target, name, task, parts):
    target = build_target(name, task)
    diagnoses, swapped = diagnose_split(target, 12)
    assert len(diagnoses) == 12
    assert len(swapped) == (12 if name == "mlnet" else 0)
    page = render_split(target, diagnoses, swapped)
    text = "".join(parse_static_page(page).text)
    assert [part for part in parts if part not in text] == []
    num_pictures = sum(diagnosis.instance.views[0] is not None for diagnosis in diagnoses)
    assert page.count("<image") == (num_pictures if name == "rap" else 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_a_split_instance_without_views_has_a_page(build_target, name):
    target = build_target(name)
    instances = [instance_without_views(instance) for instance in target.instances[:5]]
    page = render_split(target, diagnose(target, instances), diagnose(target, instances))
    assert "<image" not in page
    parsed = parse_static_page(page)
    assert not parsed.loads
    assert not parsed.links
    parse_static_page(render_post(target, diagnose(target, instances[:1])))


def test_posts_with_and_instance_without_views_share_a_page(build_target):
    target = build_target("imm")
    # The last instance is alone in its batch.
    instances = [*target.instances[:16], instance_without_views(target.instances[0])]
    diagnoses = diagnose(target, instances)
    assert "learned_similarity" not in diagnoses[-1].values
    assert "Similarity of text and picture" in render_split(target, diagnoses)


def test_texts_are_escaped(build_target, monkeypatch):
    target = build_target("rap")
    instances = []
    for index, instance in enumerate(target.instances[:9]):
        words = ("<script>alert('x')</script>", *instance.post.words[1:])
        post = replace(instance.post, id=f"{index}<i>&", words=words)
        instances.append(replace(instance, post=post))
    monkeypatch.setitem(target.data.instances, "test", instances)
    pages = (
        render_post(target, diagnose_post(target, "0<i>&")),
        render_split(target, *diagnose_split(target, 9)),
    )
    for page in pages:
        assert not {"script", "i"} & set(parse_static_page(page).tags)
        assert "&lt;script&gt;" in page


def test_a_page_says_what_is_left_out(build_target):
    target = replace(build_target("text_only"), notes=("left out: <b>",))
    page = render_split(target, *diagnose_split(target, 3))
    assert "left out: <b>" in parse_static_page(page).text


def test_a_page_is_written_into_a_new_folder(tmp_path):
    file = write_page("<p>ä</p>", str(tmp_path / "new" / "page.html"))
    assert file == tmp_path / "new" / "page.html"
    assert file.read_text(encoding="utf-8") == "<p>ä</p>"


def test_pages_of_diagnoses_are_told_from_other_files(build_target, tmp_path):
    target = build_target("text_only")
    page = render_split(target, *diagnose_split(target, 3))
    assert is_diagnosis(write_page(page, tmp_path / "page.html"))
    others = ("", "<p>page</p>", f"<iframe srcdoc='{page}'>".replace("<meta", "&lt;meta"))
    for text in (*others, f"{'.' * 1000}{page}"):
        assert not is_diagnosis(write_page(text, tmp_path / "other.html"))
    assert not is_diagnosis(tmp_path)
    assert not is_diagnosis(tmp_path / "none.html")


def test_a_page_goes_into_the_run_folder_of_its_checkpoint(tmp_path):
    run = write_run(tmp_path / "run")
    assert default_page(run / "best.ckpt") == run / "diagnosis.html"
    assert default_page(tmp_path / "exported" / "weights.ckpt") == Path("diagnosis.html")
