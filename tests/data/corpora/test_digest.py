"""Digests of splits."""

from dataclasses import replace

from mmie.data.corpora.digest import digest_posts
from mmie.types import Entity, Post, Relation


def test_the_digest_covers_all_that_a_fit_reads(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"12345")
    (tmp_path / "b.jpg").write_bytes(b"67890")
    head, tail = Entity(0, 1, "PER"), Entity(1, 2, "LOC")
    post = Post(
        "1",
        ("Jordan", "Rome"),
        tmp_path / "a.jpg",
        (tmp_path / "b.jpg",),
        "a context",
        (head, tail),
        (Relation(head, tail, "/per/loc/at"),),
    )
    other = Post("2", ("Rome",))
    digest = digest_posts([post, other], tmp_path)
    assert digest == digest_posts([post, replace(other)], tmp_path)
    changed = [
        [other, post],
        [post],
        [replace(post, id="3"), other],
        [replace(post, words=("Jordan", "Paris")), other],
        [replace(post, image=tmp_path / "b.jpg"), other],
        [replace(post, image=None), other],
        [replace(post, crops=()), other],
        [replace(post, context="another"), other],
        [replace(post, entities=(head, replace(tail, type="ORG"))), other],
        [replace(post, relations=()), other],
    ]
    digests = {digest_posts(posts, tmp_path) for posts in changed}
    assert len(digests) == len(changed)
    assert digest not in digests


def test_the_folder_does_not_count_but_sizes_of_pictures_do(tmp_path):
    digests = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"12345")
        post = Post("1", ("a",), tmp_path / name / "a.jpg")
        digests.append(digest_posts([post], tmp_path / name))
    (tmp_path / "there" / "a.jpg").write_bytes(b"1234567")
    digests.append(digest_posts([post], tmp_path / "there"))
    (tmp_path / "there" / "a.jpg").unlink()
    digests.append(digest_posts([post], tmp_path / "there"))
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
