"""Bodies of many values, posts, keys or fields, which are refused before they are validated."""

import json
import time

import pytest
from fastapi.testclient import TestClient
from helpers.serving import as_base64

from mmie.app.errors import Refusal
from mmie.app.limits import Limits
from mmie.app.parsing import parse_json
from mmie.app.server import build_app

MANY = 1_000_000
SECONDS = 1
"""Longest time to refuse a body, in seconds of the processor; without bounds it is over ten."""
LIMITS = Limits()
BODIES = {
    "empty posts": '{"posts":[' + ",".join(["{}"] * MANY) + "]}",
    "valid posts": '{"posts":[' + ",".join(['{"text":""}'] * MANY) + "]}",
    "posts within the number of values": '{"posts":[' + ",".join(["{}"] * 80_000) + "]}",
    "keys": "{" + ",".join(f'"{number}":0' for number in range(80_000)) + "}",
    "keys of a post": '{"posts":[{' + ",".join(f'"{number}":0' for number in range(80_000)) + "}]}",
    "lists": "[" + ",".join(["[]"] * MANY) + "]",
    "lists without commas": "[" * MANY,
    "numbers": '{"posts":[' + ",".join(["1"] * MANY) + "]}",
    "long numbers": '{"posts":[' + ",".join(["9" * 4290] * 3900) + "]}",
    "values of an unknown key": '{"a":[' + ",".join(["{}"] * MANY) + "]}",
    "values in place of a text": '{"posts":[{"text":[' + ",".join(["[]"] * 50_000) + "]}]}",
}


@pytest.fixture(scope="module")
def default_client(extractor):
    """Client of a server with the default limits."""
    with TestClient(build_app(extractor)) as client:
        yield client


@pytest.mark.parametrize("name", BODIES)
def test_many_values_are_refused_quickly(default_client, name):
    body = BODIES[name].encode()
    start = time.process_time()
    headers = {"Content-Type": "application/json"}
    response = default_client.post("/api/extract", content=body, headers=headers)
    assert time.process_time() - start < SECONDS
    assert response.status_code in (400, 422)
    assert len(response.content) < 300


@pytest.mark.parametrize("separator", ["&", "a=b&", "a=b;", "text=a&"])
def test_many_fields_are_refused_quickly(default_client, separator):
    start = time.process_time()
    response = default_client.post(
        "/api/upload",
        content=separator * MANY,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert time.process_time() - start < SECONDS
    assert response.status_code == 400


@pytest.mark.parametrize("text", ["a", ",", ":", "{", "\n", "\u2028", "\U0001f602"])
def test_the_largest_valid_request_is_parsed(text):
    picture = "data:image/png;base64," + as_base64(bytes(1000))
    post = {"id": "," * 200, "text": text * LIMITS.max_characters, "image": picture}
    request = {"posts": [post] * LIMITS.max_posts, "explain": False}
    for ascii_only in (True, False):
        body = json.dumps(request, ensure_ascii=ascii_only).encode()
        assert parse_json(body, LIMITS) == request


def test_posts_are_counted_before_they_are_validated():
    with pytest.raises(Refusal, match="posts: 33 are given, 32 are taken at a time"):
        parse_json(b'{"posts": [' + b",".join([b"7"] * 33) + b"]}", LIMITS)


@pytest.mark.parametrize("body", [b"[]", b"1", b'"a"', b'{"posts": 3}', b'{"posts": [1]}'])
def test_other_values_are_left_to_the_validation(body):
    assert parse_json(body, LIMITS) == json.loads(body)
