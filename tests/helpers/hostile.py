"""What tests of hostile input share: values, texts, damaged bytes, and what must hold of whatever was read."""

import json
import pickle
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from mmie.types import Entity, Post

SURROGATES = ("\ud800", "\udcff")
ODD_TEXTS = (
    "",
    " ",
    "\t",
    "\0",
    "\x1b[31m",
    "\u200b",
    "\ufe0f",
    "\u202e abc",
    "e\u0301\u0301",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1",
    "\u845b\U000e0100\u98fe",
    "a\u2028b\x85c\x0bd",
    "[SEP] [CLS] [PAD] [unused1]",
    "https://t.co/\u00e9 @ # @@ ##",
    "w" * 300,
    "IMGID:7",
    *SURROGATES,
)
ODD_PATHS = (
    "../a.jpg",
    "/etc/passwd",
    "a/../../b",
    ".",
    "..",
    "a\0b",
    "x" * 5000,
    "link/a.jpg",
    "\ud800.jpg",
    "~/a.jpg",
)
ODD_VALUES = (
    None,
    True,
    0,
    -1,
    10**30,
    float("nan"),
    float("inf"),
    [],
    {},
    [[]],
    [None],
    {"start": 0, "end": 1},
    *ODD_TEXTS,
    *ODD_PATHS,
)

texts = st.one_of(
    st.sampled_from(ODD_TEXTS),
    st.text(max_size=40),
    st.lists(st.sampled_from(ODD_TEXTS)).map("".join),
)
"""Texts, lone surrogates among them."""
clean_texts = st.text(max_size=60) | st.lists(st.sampled_from(ODD_TEXTS[:-2]), max_size=6).map(
    " ".join
)
"""Texts that can be written as UTF-8."""
json_values = st.recursive(
    st.sampled_from(ODD_VALUES) | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def few(share: int = 1) -> settings:
    """Settings of a test: the profile's examples, or one in ``share`` of them where each costs much."""
    quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    count = max(settings.default.max_examples // share, 5)
    return settings(max_examples=count, deadline=None, suppress_health_check=quiet)


@st.composite
def mutated(draw, value):
    """A JSON value with up to three of its parts replaced, left out or repeated."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(0, 3))):
        value = _mutate(draw, value)
    return value


def _mutate(draw, value):
    """The value with one part changed, at any depth; what was drawn stays as it is for the next draw."""
    value = value.copy() if isinstance(value, dict | list) else value
    keys = (
        list(value)
        if isinstance(value, dict)
        else list(range(len(value)))
        if isinstance(value, list)
        else []
    )
    if not keys or draw(st.integers(0, 4)) == 0:
        return draw(json_values)
    key = draw(st.sampled_from(keys))
    action = draw(st.sampled_from(["inside", "inside", "replace", "drop", "repeat"]))
    if action == "inside":
        value[key] = _mutate(draw, value[key])
    elif action == "replace":
        value[key] = draw(json_values)
    elif action == "drop":
        del value[key]
    elif isinstance(value, list):
        value.insert(key, value[key])
    return value


@st.composite
def damaged(draw, data):
    """Bytes with up to four places overwritten, cut out, inserted or repeated."""
    content = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 12)))
        piece = bytes(content[start:end])
        content[start:end] = draw(
            st.sampled_from([piece * 2, b"", b"\xff", b"\0", b"\r\n", b'"']) | st.binary(max_size=8)
        )
    return bytes(content)


def check_post(post: Post, root: Path) -> None:
    """What every reader promises of a post that it lets through."""
    assert post.id
    strings = [post.id, *post.words, *(relation.label for relation in post.relations)]
    strings += [entity.type for entity in _named(post)]
    for string in strings:
        string.encode()
    assert all(post.words)
    for entity in _named(post):
        assert 0 <= entity.start < entity.end <= len(post.words)
    for left, right in pairwise(post.entities):
        assert left.end <= right.start
    for path in filter(None, [post.image, *post.crops]):
        assert path.resolve().is_relative_to(root.resolve())
        str(path).encode()
    if post.text is not None and post.words:
        assert [post.text[start:end] for start, end in post.offsets] == list(post.words)


def check_line(message: object, *names: object) -> None:
    """An error that a user can act on: it says where, and holds no line of its own."""
    assert all(str(name) in str(message) for name in names), message
    assert len(str(message)) < 1000


def lines_of(data: bytes) -> list[str]:
    """Lines that are not blank, as the corpora count them."""
    text = data.removeprefix(b"\xef\xbb\xbf").decode(errors="surrogateescape")
    return [line for line in text.split("\n") if line.strip()]


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.write_text, (self.file, "it ran")


def malicious_pickle(target: Path) -> bytes:
    """A pickle that writes ``target`` when it is loaded freely."""
    return pickle.dumps({"a": Payload(target)})


def _named(post: Post) -> list[Entity]:
    arguments = [entity for relation in post.relations for entity in (relation.head, relation.tail)]
    return [*post.entities, *arguments]
