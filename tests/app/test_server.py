"""The server's endpoints: extraction, limits, health and the OpenAPI description."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from helpers.serving import UNREADABLE, as_base64, picture_bytes

from mmie.app.limits import Limits
from mmie.app.server import build_app
from mmie.inference import Extractor
from mmie.inference.formats.text import to_json
from mmie.types import Post

TEXT = "Ann 😂 met Bob"


def test_json_has_the_entities_of_the_extractor(client, extractor):
    picture = picture_bytes()
    posts = [{"id": "a", "text": TEXT, "image": as_base64(picture)}, {"text": "Cy"}]
    response = client.post("/api/extract", json={"posts": posts})
    assert response.status_code == 200
    expected = extractor.extract([Post(id="a", text=TEXT, image=picture), Post(id="1", text="Cy")])
    extractions = response.json()["posts"]
    assert [extraction["id"] for extraction in extractions] == ["a", "1"]
    for extraction, other in zip(extractions, map(to_json, expected), strict=True):
        for name in ("start", "probability"):
            values = [entity[name] for entity in extraction["entities"]]
            other_values = [entity[name] for entity in other["entities"]]
            assert values == pytest.approx(other_values, abs=1e-4)
    last = extractions[0]["entities"][-1]
    assert (last["text"], last["start"], last["end"]) == ("Bob", 10, 13)
    assert extractions[0]["relations"][0]["label"] == "/per/per/peer"


def test_form_gives_the_same_as_json(client):
    picture = picture_bytes()
    files = {"image": ("../../x.png", picture)}
    form = client.post("/api/upload", data={"text": TEXT, "id": "a"}, files=files)
    image = "data:image/png;base64," + as_base64(picture)
    body = {"posts": [{"id": "a", "text": TEXT, "image": image}]}
    assert form.status_code == 200
    assert form.json() == client.post("/api/extract", json=body).json()["posts"][0]


def test_form_without_a_picture(client):
    response = client.post("/api/upload", data={"text": TEXT})
    assert (response.status_code, response.json()["problems"]) == (200, [])


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_picture_is_a_problem_of_its_post(client, name):
    data, reason = UNREADABLE[name]
    for explain in (False, True):
        body = {"posts": [{"text": TEXT, "image": as_base64(data)}], "explain": explain}
        (extraction,) = client.post("/api/extract", json=body).json()["posts"]
        assert extraction["problems"] == [f"image: {reason}"]
        assert extraction["entities"]
        assert not (explain and extraction["explanation"]["views"])


def test_too_large_request_is_refused(client):
    response = client.post("/api/upload", data={"text": "a"}, files={"image": bytes(200_001)})
    assert response.status_code == 413
    assert response.json() == {"error": "the request is larger than 200000 bytes"}


def test_full_queue_refuses_requests_and_computes_the_others_together(fake_client, fake_extractor):
    def post(text):
        return fake_client.post("/api/upload", data={"text": text})

    fake_extractor.unblocked.clear()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(post, "1")
        fake_extractor.wait_for_calls(1)
        others = [pool.submit(post, text) for text in "23"]
        while fake_client.get("/health").json()["waiting"] < 2:
            pass
        refused = post("4")
        fake_extractor.unblocked.set()
        assert [future.result().status_code for future in (first, *others)] == [200] * 3
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert refused.json() == {"error": "2 of 2 posts wait already: try again later"}
    assert [sorted(batch) for batch in fake_extractor.batches] == [["1"], ["2", "3"]]


def test_request_beyond_its_time_is_refused_and_not_computed(fake_client, fake_extractor):
    fake_extractor.unblocked.clear()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(fake_client.post, "/api/upload", data={"text": "running"})
        fake_extractor.wait_for_calls(1)
        waiting = fake_client.post("/api/upload", data={"text": "waiting"})
    assert [response.status_code for response in (running.result(), waiting)] == [504, 504]
    assert waiting.json() == {"error": "no answer within 0.4 s"}
    fake_extractor.unblocked.set()
    assert fake_client.post("/api/upload", data={"text": "later"}).status_code == 200
    assert fake_extractor.batches == [["running"], ["later"]]


def test_pictures_of_a_request_are_bounded_together(fake_extractor):
    pixels = 96 * 64
    limits = Limits(max_request_decoded=3 * 28 * pixels)
    post = {"text": TEXT, "image": as_base64(picture_bytes())}
    with TestClient(build_app(fake_extractor, limits)) as client:
        assert client.post("/api/extract", json={"posts": [post] * 3}).status_code == 200
        response = client.post("/api/extract", json={"posts": [post] * 4})
    assert response.status_code == 413
    assert response.json() == {"error": f"pictures: more than {84 * pixels} bytes when decoded"}
    assert sum(map(len, fake_extractor.batches)) == 3


def test_pictures_that_are_decoded_at_a_time_are_bounded(fake_extractor):
    limits = Limits(max_decoded=2 * 28 * 96 * 64)
    post = {"text": "a", "image": as_base64(picture_bytes())}
    with TestClient(build_app(fake_extractor, limits)) as client:
        response = client.post("/api/extract", json={"posts": [post] * 5 + [{"text": "b"}]})
    assert response.status_code == 200
    assert fake_extractor.batches == [["a", "a"], ["a", "a"], ["a", "b"]]


def test_rest_of_a_request_that_was_given_up_is_not_computed(fake_extractor):
    limits = Limits(batch_size=2, linger=0.0, answer_seconds=0.4)
    fake_extractor.unblocked.clear()
    with TestClient(build_app(fake_extractor, limits)) as client:
        posts = [{"text": str(number)} for number in range(9)]
        assert client.post("/api/extract", json={"posts": posts}).status_code == 504
        fake_extractor.unblocked.set()
        assert client.post("/api/upload", data={"text": "later"}).status_code == 200
    assert fake_extractor.batches == [["0", "1"], ["later"]]


def test_health_lists_the_methods(client):
    health = client.get("/health").json()
    assert health["ready"]
    assert [(method["task"], method["name"], method["views"]) for method in health["methods"]] == [
        ("ner", "HVPNet", 4),
        ("re", "HVPNet", 4),
    ]


def test_health_after_the_end_is_not_ready(fake_extractor):
    app = build_app(fake_extractor)
    with TestClient(app):
        pass
    assert TestClient(app).get("/health").status_code == 503


def test_openapi_description_has_paths_responses_and_pictures(client):
    api = client.get("/openapi.json").json()
    assert set(api["paths"]) == {"/health", "/api/extract", "/api/upload"}
    responses = set(api["paths"]["/api/extract"]["post"]["responses"])
    assert {"200", "413", "422", "503", "504"} <= responses
    image = api["components"]["schemas"]["PostIn"]["properties"]["image"]
    assert image["contentEncoding"] == "base64"
    form = api["paths"]["/api/upload"]["post"]["requestBody"]["content"]
    assert set(form) == {"multipart/form-data"}


def test_simultaneous_clients_get_their_own_responses(client):
    def post(number):
        text = "x" * (1 + number)
        response = client.post("/api/upload", data={"text": text, "id": str(number)})
        return response.json()["id"], response.json()["text"]

    expected = [(str(number), "x" * (1 + number)) for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(post, range(24))) == expected
    assert threading.active_count() < 60


def test_several_pictures_by_json_and_by_form(client):
    pictures = [picture_bytes(seed=seed) for seed in range(3)]
    encoded = [as_base64(picture) for picture in pictures]
    post = {"text": TEXT, "image": encoded[0], "images": [*encoded[1:], as_base64(b"x")]}
    response = client.post("/api/extract", json={"posts": [{"id": "a", **post}]})
    assert response.status_code == 200
    (extraction,) = response.json()["posts"]
    assert extraction["problems"][0].startswith("image 4: not a picture")
    files = [("image", ("a.png", pictures[0]))]
    files += [("images", ("b.png", picture)) for picture in (*pictures[1:], b"x")]
    form = client.post("/api/upload", data={"text": TEXT, "id": "a"}, files=files)
    assert form.status_code == 200
    assert form.json() == extraction
    post = {"text": TEXT, "images": ["eA=="] * 17}
    refused = client.post("/api/extract", json={"posts": [post]})
    assert refused.status_code == 422


def test_a_text_that_is_too_long_for_the_method_is_refused_on_request(extractor):
    refusing = Extractor(extractor.ner, long="error")
    with TestClient(build_app(refusing)) as client:
        posts = {"posts": [{"text": "Ann"}, {"text": "Ann met Bob . " * 60}]}
        response = client.post("/api/extract", json=posts)
        assert response.status_code == 422
        assert response.json()["error"].startswith("post 1: only the first")
