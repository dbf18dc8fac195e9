"""Requests to other names of the server, and from pages of other origins."""

import pytest
from fastapi.testclient import TestClient

from mmie.app.origin import LOOPBACK_HOSTS
from mmie.app.server import build_app


@pytest.fixture
def local_client(fake_extractor):
    """Client of a server that answers to the names of this machine alone."""
    app = build_app(fake_extractor, allowed_hosts=[*LOOPBACK_HOSTS, "*.example.com"])
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        yield client


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("LOCALHOST", 200),
        ("[::1]:8000", 200),
        ("a.example.com:1", 200),
        ("example.com", 400),
        ("other.example", 400),
        ("127.0.0.1.other.example", 400),
        ("localhost.other.example:8000", 400),
        ("", 400),
    ],
)
def test_other_names_are_refused(local_client, host, status):
    for path in ("/health", "/", "/docs"):
        assert local_client.get(path, headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:8000"}, 200),
        ({"Origin": "HTTP://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "https://behind.a.proxy", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://127.0.0.1:9000"}, 403),
        ({"Origin": "http://localhost:8000"}, 403),
        ({"Origin": "http://other.example"}, 403),
        ({"Origin": "http://127.0.0.1:8000@other.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Origin": ""}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:8000"}, 403),
    ],
)
def test_posts_from_pages_of_other_origins_are_refused(
    local_client, fake_extractor, headers, status
):
    for path, content in (
        ("/api/upload", {"data": {"text": "a"}}),
        ("/api/extract", {"json": {"posts": [{"text": "a"}]}}),
    ):
        response = local_client.post(path, headers=headers, **content)
        assert response.status_code == status
        assert status == 200 or list(response.json()) == ["error"]
    assert (fake_extractor.batches == []) == (status == 403)


def test_pages_may_link_to_the_server(local_client):
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "http://other.example"}
    assert local_client.get("/", headers=headers).status_code == 200
