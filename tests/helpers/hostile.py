"""Hostile values, texts and bytes, and checks of whatever is read from them."""

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
"""Texts, also with lone surrogates."""
odd_clean_texts = st.sampled_from(ODD_TEXTS[: -len(SURROGATES)])
clean_texts = st.text(max_size=60) | st.lists(odd_clean_texts, max_size=6).map(" ".join)
"""Texts that can be written as UTF-8."""
json_values = st.recursive(
    st.sampled_from(ODD_VALUES) | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def limited_examples(divisor: int = 1) -> settings:
    """Return settings of a property test without deadline.

    Args:
        divisor: Divisor of the profile's number of examples, for tests whose examples are costly.
    """
    unchecked = [
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ]
    count = max(settings.default.max_examples // divisor, 5)
    return settings(max_examples=count, deadline=None, suppress_health_check=unchecked)


@st.composite
def mutated(draw, value):
    """Draw a JSON value with up to three of its parts replaced, left out or repeated."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(0, 3))):
        value = _mutate(draw, value)
    return value


def _mutate(draw, value):
    """Return a copy of a value with one part changed, at any depth."""
    keys = []
    if isinstance(value, dict | list):
        value = value.copy()
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    if not keys or draw(st.integers(0, 4)) == 0:
        return draw(json_values)
    key = draw(st.sampled_from(keys))
    action = draw(st.sampled_from(["mutate", "mutate", "replace", "drop", "repeat"]))
    if action == "mutate":
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
    """Draw bytes with up to four spans overwritten, cut out, inserted or repeated."""
    content = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 12)))
        span = bytes(content[start:end])
        fixed = st.sampled_from([span * 2, b"", b"\xff", b"\0", b"\r\n", b'"'])
        content[start:end] = draw(fixed | st.binary(max_size=8))
    return bytes(content)


def check_post(post: Post, root: Path) -> None:
    """Check what every reader guarantees of a post that it accepts.

    Args:
        post: The post.
        root: Folder that its pictures must lie in.
    """
    assert post.id
    entities = _all_entities(post)
    strings = [post.id, *post.words, *(relation.label for relation in post.relations)]
    strings += [entity.type for entity in entities]
    for string in strings:
        string.encode()
    assert all(post.words)
    for entity in entities:
        assert 0 <= entity.start < entity.end <= len(post.words)
    for left, right in pairwise(post.entities):
        assert left.end <= right.start
    for path in filter(None, [post.image, *post.crops]):
        assert path.resolve().is_relative_to(root.resolve())
        str(path).encode()
    if post.text is not None and post.words:
        assert [post.text[start:end] for start, end in post.offsets] == list(post.words)


def check_message(message: object, *names: object) -> None:
    """Check that an error message is short and holds all of the names."""
    assert all(str(name) in str(message) for name in names), message
    assert len(str(message)) < 1000


def nonblank_lines(data: bytes) -> list[str]:
    """Return the lines that are not blank, as the corpora count them."""
    text = data.removeprefix(b"\xef\xbb\xbf").decode(errors="surrogateescape")
    return [line for line in text.split("\n") if line.strip()]


class Payload:
    """Object that writes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.write_text, (self.file, "it ran")


def malicious_pickle(target: Path) -> bytes:
    """Return a pickle that writes ``target`` when it is loaded freely."""
    return pickle.dumps({"a": Payload(target)})


def _all_entities(post: Post) -> list[Entity]:
    """Return the entities of a post and of its relations."""
    arguments = [entity for relation in post.relations for entity in (relation.head, relation.tail)]
    return [*post.entities, *arguments]
