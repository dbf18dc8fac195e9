import base64
import json
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from helpers.serving import picture_bytes

from mmie.app.limits import Limits
from mmie.app.server import build_app
from mmie.inference.formats.text import to_json
from mmie.types import Post

TEXT = "Ann 😂 met Bob"


def as_base64(data):
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def client(extractor):
    with TestClient(build_app(extractor, Limits(max_posts=4, max_body=200_000))) as client:
        yield client


@pytest.fixture
def told_client(told):
    """A client of a small server whose extractor does as it is told."""
    limits = Limits(max_waiting=2, batch_size=2, linger=0.0, answer_seconds=0.4, max_body=1000)
    with TestClient(build_app(told, limits), raise_server_exceptions=False) as client:
        yield client
        told.go.set()


def plain(found):
    """What was found, without what only the endpoint says."""
    return {name: value for name, value in found.items() if value and name != "explanation"}


def test_json_gives_what_the_extractor_finds(client, extractor):
    picture = picture_bytes()
    sent = [{"id": "a", "text": TEXT, "image": as_base64(picture)}, {"text": "Cy"}]
    answer = client.post("/api/extract", json={"posts": sent})
    assert answer.status_code == 200
    expected = extractor.extract([Post(id="a", text=TEXT, image=picture), Post(id="1", text="Cy")])
    found = answer.json()["posts"]
    assert [post["id"] for post in found] == ["a", "1"]
    for one, other in zip(found, map(to_json, expected), strict=True):
        assert [entity["start"] for entity in one["entities"]] == [
            entity["start"] for entity in other["entities"]
        ]
        assert [entity["probability"] for entity in one["entities"]] == pytest.approx(
            [entity["probability"] for entity in other["entities"]], abs=1e-4
        )
    assert found[0]["entities"][-1] == {
        **found[0]["entities"][-1],
        "text": "Bob",
        "start": 10,
        "end": 13,
    }
    assert found[0]["relations"][0]["label"] == "/per/per/peer"


def test_a_form_gives_the_same_as_json(client):
    picture = picture_bytes()
    form = client.post(
        "/api/upload", data={"text": TEXT, "id": "a"}, files={"image": ("../../x.png", picture)}
    )
    sent = {
        "posts": [{"id": "a", "text": TEXT, "image": "data:image/png;base64," + as_base64(picture)}]
    }
    assert form.status_code == 200
    assert form.json() == client.post("/api/extract", json=sent).json()["posts"][0]


def test_a_form_needs_no_picture(client):
    answer = client.post("/api/upload", data={"text": TEXT})
    assert (answer.status_code, answer.json()["problems"]) == (200, [])


def huge_png(width, height):
    """A few bytes that claim to be a large picture."""
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(bytes(99)),
    }
    spelled = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(spelled)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(/etc/passwd) run showpage\n%%EOF\n"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (
            b"hello",
            "image: not a picture of a kind that is read here: JPEG, PNG, WEBP, GIF, BMP, TIFF",
        ),
        (
            POSTSCRIPT,
            "image: not a picture of a kind that is read here: JPEG, PNG, WEBP, GIF, BMP, TIFF",
        ),
        (huge_png(6000, 6000), "image: more than 25000000 pixels"),
        (huge_png(60000, 60000), "image: more than 25000000 pixels"),
        (picture_bytes()[:400], "image: truncated"),
    ],
    ids=["text", "postscript", "large", "bomb", "truncated"],
)
def test_a_bad_picture_is_a_problem_of_the_post_alone(client, data, problem):
    for explain in (False, True):
        body = {"posts": [{"text": TEXT, "image": as_base64(data)}], "explain": explain}
        (found,) = client.post("/api/extract", json=body).json()["posts"]
        assert found["problems"] == [problem]
        assert found["entities"]
        assert not (explain and found["explanation"]["views"])


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ('{"posts":', "no valid JSON"),
        ("[" * 20_000, None),
        ('{"posts": []}', "posts: List should have at least 1 item after validation, not 0"),
        ('{"posts": [{}]}', "posts.0.text: Field required"),
        ('{"posts": [{"text": "a", "image": "/etc/passwd"}]}', "posts.0.image: expected base64"),
        (
            '{"posts": [{"text": "a", "image": "http://example.com/a.png"}]}',
            "posts.0.image: expected base64",
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
def test_a_malformed_request_is_answered_with_one_line(client, body, error):
    answer = client.post("/api/extract", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert list(answer.json()) == ["error"]
    assert "\n" not in answer.json()["error"]
    assert error is None or answer.json()["error"] == error


@pytest.mark.parametrize(
    ("content", "kind"),
    [("garbage", "multipart/form-data; boundary=x"), ("text", "multipart/form-data"), ("", None)],
)
def test_a_malformed_form_is_refused(client, content, kind):
    answer = client.post(
        "/api/upload", content=content, headers={"Content-Type": kind} if kind else {}
    )
    assert answer.status_code in (400, 422)
    assert "error" in answer.json()


def test_too_large_is_refused(client):
    answer = client.post("/api/upload", data={"text": "a"}, files={"image": bytes(200_001)})
    assert (answer.status_code, answer.json()) == (
        413,
        {"error": "the request is larger than 200000 bytes"},
    )


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/../etc/passwd", 404), ("GET", "/api/extract", 405)]
)
def test_what_is_not_there_is_one_line_too(client, method, path, status):
    answer = client.request(method, path)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])


def test_a_full_queue_is_said_and_the_others_are_answered_together(told_client, told):
    told.go.clear()
    with ThreadPoolExecutor(3) as pool:
        ask = lambda text: told_client.post("/api/upload", data={"text": text})  # noqa: E731
        first = pool.submit(ask, "1")
        told.started(1)
        others = [pool.submit(ask, text) for text in "23"]
        while told_client.get("/health").json()["waiting"] < 2:
            pass
        refused = ask("4")
        told.go.set()
        assert [future.result().status_code for future in (first, *others)] == [200] * 3
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert refused.json() == {"error": "2 of 2 posts wait already: try again later"}
    assert [sorted(batch) for batch in told.batches] == [["1"], ["2", "3"]]


def test_a_request_whose_time_is_up_is_given_up_and_never_computed(told_client, told):
    told.go.clear()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(told_client.post, "/api/upload", data={"text": "running"})
        told.started(1)
        waiting = told_client.post("/api/upload", data={"text": "waiting"})
    assert [answer.status_code for answer in (running.result(), waiting)] == [504, 504]
    assert waiting.json() == {"error": "no answer within 0.4 s"}
    told.go.set()
    assert told_client.post("/api/upload", data={"text": "later"}).status_code == 200
    assert told.batches == [["running"], ["later"]]


def test_a_failure_is_one_line_and_the_server_lives_on(told_client):
    answer = told_client.post("/api/upload", data={"text": "fail"})
    assert (answer.status_code, answer.json()) == (500, {"error": "the server failed to answer"})
    assert told_client.post("/api/upload", data={"text": "fine"}).status_code == 200


def test_health_says_what_answers(client):
    health = client.get("/health").json()
    assert health["ready"]
    assert [(method["task"], method["name"], method["views"]) for method in health["methods"]] == [
        ("ner", "HVPNet", 4),
        ("re", "HVPNet", 4),
    ]


def test_health_after_the_end_is_not_ready(told):
    app = build_app(told)
    with TestClient(app):
        pass
    assert TestClient(app).get("/health").status_code == 503


def test_the_description_names_paths_answers_and_pictures(client):
    api = client.get("/openapi.json").json()
    assert set(api["paths"]) == {"/health", "/api/extract", "/api/upload"}
    assert {"200", "413", "422", "503", "504"} <= set(
        api["paths"]["/api/extract"]["post"]["responses"]
    )
    assert (
        api["components"]["schemas"]["PostIn"]["properties"]["image"]["contentEncoding"] == "base64"
    )
    assert set(api["paths"]["/api/upload"]["post"]["requestBody"]["content"]) == {
        "multipart/form-data"
    }


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_load_nothing_from_elsewhere(client, path):
    answer = client.get(path)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "https://" not in answer.text
    assert " src=" not in answer.text


def test_many_clients_at_a_time_each_get_their_own_answer(client):
    def ask(number):
        name = "x" * (1 + number)
        answer = client.post("/api/upload", data={"text": name, "id": str(number)})
        return answer.json()["id"], answer.json()["text"]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(24))) == [
            (str(number), "x" * (1 + number)) for number in range(24)
        ]
    assert threading.active_count() < 60


@pytest.mark.parametrize(
    "changes",
    [{"max_posts": 0}, {"linger": -1.0}, {"max_body": 200, "max_held": 100}],
    ids=lambda changes: str(changes),
)
def test_limits_that_cannot_be_are_refused(changes):
    with pytest.raises(ValueError, match=r"limits\.\w+ is"):
        Limits(**changes)
