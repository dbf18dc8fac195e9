"""Responses to malformed requests, wrong paths and failures."""

import asyncio
import json

import pytest
from starlette.exceptions import HTTPException

from mmie.app.errors import handle_http_error


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ('{"posts":', "no valid JSON"),
        ("[" * 20_000, None),
        ('{"posts": []}', "posts: List should have at least 1 item after validation, not 0"),
        ('{"posts": [{}]}', "posts.0.text: Field required"),
        (
            '{"posts": [{"text": "a", "image": "/etc/passwd"}]}',
            "posts.0.image: expected base64",
        ),
        (
            '{"posts": [{"text": "a", "image": "http://example.com/a.png"}]}',
            "posts.0.image: expected base64, found an address: pictures are sent, not fetched",
        ),
        ('{"posts": [{"text": "a", "image": 7}]}', "posts.0.image: expected base64 or null"),
        ('{"posts": [{"text": "a", "path": "x"}]}', "posts.0.path: Extra inputs are not permitted"),
        (
            '{"posts": [{"text": "a"}, {"text": "b"}], "explain": true}',
            "explain: only one post is explained at a time",
        ),
        (json.dumps({"posts": [{"text": "a"}] * 5}), "posts: 5 are given, 4 are taken at a time"),
        (
            json.dumps({"posts": [{"text": "a" * 5001}]}),
            "text of post 0: more than 5000 characters",
        ),
    ],
)
def test_malformed_request_is_one_line(client, body, error):
    headers = {"Content-Type": "application/json"}
    response = client.post("/api/extract", content=body, headers=headers)
    assert response.status_code in (400, 422)
    assert list(response.json()) == ["error"]
    assert "\n" not in response.json()["error"]
    assert error is None or response.json()["error"] == error


@pytest.mark.parametrize(
    ("content", "kind"),
    [("garbage", "multipart/form-data; boundary=x"), ("text", "multipart/form-data"), ("", None)],
)
def test_malformed_form_is_refused(client, content, kind):
    headers = {"Content-Type": kind} if kind else {}
    response = client.post("/api/upload", content=content, headers=headers)
    assert response.status_code in (400, 422)
    assert "error" in response.json()


def test_text_of_a_client_is_one_line_of_bounded_length():
    error = HTTPException(400, "a\ud83d\nb " + "c" * 1000)
    response = asyncio.run(handle_http_error(None, error))
    assert json.loads(response.body) == {"error": "a? b " + "c" * 195}


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/../etc/passwd", 404), ("GET", "/api/extract", 405)]
)
def test_wrong_path_or_method_is_one_line(client, method, path, status):
    response = client.request(method, path)
    assert (response.status_code, list(response.json())) == (status, ["error"])


def test_failure_is_one_line_and_the_server_continues(fake_client):
    response = fake_client.post("/api/upload", data={"text": "fail"})
    assert response.status_code == 500
    assert response.json() == {"error": "the server failed to answer"}
    assert fake_client.post("/api/upload", data={"text": "fine"}).status_code == 200
