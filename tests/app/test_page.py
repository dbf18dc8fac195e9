"""Pages and their content security policies."""

import base64
import hashlib
import re

import pytest

from mmie.app.page import build_page, describe_api


def test_policy_allows_the_script_and_the_style_of_the_page():
    page = build_page()
    for kind in ("script", "style"):
        (content,) = re.findall(rf"<{kind}>(.*?)</{kind}>", page.html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in page.policy


def test_description_shows_operations_and_schemas(client):
    page = describe_api(client.get("/openapi.json").json())
    assert "<code>POST /api/extract</code>" in page.html
    assert "list of PostIn" in page.html
    assert "string or null (base64), optional" in page.html
    assert "script-src 'none'" in page.policy


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_load_nothing_from_elsewhere(client, path):
    response = client.get(path)
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "https://" not in response.text
    assert " src=" not in response.text
