"""Requests to an OpenAI-compatible endpoint."""

import pytest
from helpers.chat_endpoint import chat_endpoint
from helpers.pictures import gradient_picture

from mmie.context.endpoint import Endpoint, RequestLimits, check_url
from mmie.context.errors import ContextError
from mmie.context.generation import GenerationSettings
from mmie.data.pictures import load_picture

pytest.importorskip("openai", reason="needs openai: mmie[generate]")

SETTINGS = GenerationSettings("a-model", "{text}", max_tokens=7)
KEY = "sk-secret-key"


class Clock:
    """Time that only waiting takes."""

    def __init__(self):
        self.now = 0.0
        self.waits = []

    def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += seconds

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def stub():
    with chat_endpoint() as stub:
        yield stub


@pytest.fixture
def ask(stub, clock):
    """Function that builds the stub's client with some limits."""

    def build(settings=SETTINGS, **limits):
        return Endpoint(stub.url, settings, KEY, RequestLimits(**limits), clock.sleep, clock)

    return build


def test_a_request_has_the_model_the_prompt_and_the_key(stub, ask):
    assert ask().answer("caption it", []) == "CAPTION IT"
    [request] = stub.requests
    assert request == {
        "model": "a-model",
        "messages": [{"role": "user", "content": "caption it"}],
        "max_tokens": 7,
        "temperature": 0.0,
    }
    assert stub.headers[0]["authorization"] == f"Bearer {KEY}"


def test_pictures_are_sent_as_data_urls(stub, ask):
    ask().answer("caption it", [gradient_picture(60, 40)])
    text, picture = stub.requests[0]["messages"][0]["content"]
    assert text == {"type": "text", "text": "caption it"}
    assert load_picture(picture["image_url"]["url"]).size == (60, 40)


def test_settings_that_are_null_are_not_sent(stub, ask):
    ask(GenerationSettings("m", "{text}", max_tokens=None, temperature=None)).answer("a", [])
    assert set(stub.requests[0]) == {"model", "messages"}


def test_passing_failures_are_repeated_after_longer_and_longer_pauses(stub, ask, clock):
    stub.statuses = [500, 429, 503]
    assert ask().answer("a", []) == "A"
    assert len(stub.requests) == 4
    first, second, third = clock.waits
    assert 1 <= first <= 1.25
    assert 2 <= second <= 2.5
    assert 4 <= third <= 5


def test_the_endpoint_says_how_long_to_wait_up_to_a_minute(stub, ask, clock):
    stub.statuses, stub.retry_after = [429], "7"
    ask().answer("a", [])
    stub.statuses, stub.retry_after = [429], "86400"
    ask().answer("a", [])
    assert clock.waits == [7.0, 60.0]


def test_a_request_is_repeated_a_limited_number_of_times(stub, ask):
    stub.statuses = [500] * 9
    with pytest.raises(ContextError, match="status 500"):
        ask(retries=2).answer("a", [])
    assert len(stub.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 404])
def test_refusals_are_not_repeated_and_do_not_tell_the_key(stub, ask, status):
    stub.statuses = [status]
    with pytest.raises(ContextError, match=r"status \d+ for \*\*\*") as caught:
        ask().answer("a", [])
    assert KEY not in str(caught.value)
    assert caught.value.__suppress_context__
    assert len(stub.requests) == 1


def test_redirects_are_not_followed(stub, ask):
    stub.statuses = [307, 307]
    with pytest.raises(ContextError):
        ask(retries=0).answer("a", [])
    assert len(stub.requests) == 1


def test_requests_are_limited_with_repetitions(stub, ask):
    endpoint = ask(max_requests=2)
    stub.statuses = [500]
    endpoint.answer("a", [])
    with pytest.raises(ContextError, match="the limit of 2 requests"):
        endpoint.answer("b", [])
    assert len(stub.requests) == endpoint.num_requests == 2


def test_requests_keep_their_distance(ask, clock):
    endpoint = ask(per_minute=30)
    for _ in range(3):
        endpoint.answer("a", [])
    assert clock.waits == [2.0, 2.0]


@pytest.mark.parametrize(
    "body", [b"{}", b'{"choices": []}', b'{"choices": [{"message": {}}]}', b"[]", b"no JSON"]
)
def test_answers_of_other_form_are_reported(stub, ask, body):
    stub.body = body
    with pytest.raises(ContextError):
        ask(retries=0).answer("a", [])


def test_an_endpoint_that_does_not_answer_is_named(clock):
    with chat_endpoint() as stub:
        url = stub.url
    endpoint = Endpoint(url, SETTINGS, KEY, RequestLimits(retries=1), clock.sleep, clock)
    with pytest.raises(ContextError, match="127"):
        endpoint.answer("a", [])
    assert endpoint.num_requests == 2


@pytest.mark.parametrize(
    "url", ["https://api.example.org/v1", "http://localhost:8000/v1", "http://[::1]:1/v1"]
)
def test_urls_that_keep_the_key_safe_are_accepted(url):
    check_url(url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://api.example.org/v1", "expected https"),
        ("http://localhost.example.org/v1", "expected https"),
        ("ftp://localhost/v1", "expected https"),
        ("https://user:password@example.org/v1", "without user"),
        ("https://example.org/v1?key=1", "without user"),
        ("api.example.org", "expected a URL"),
        ("http://[", "expected a URL"),
        ("", "expected a URL"),
    ],
)
def test_other_urls_are_refused_without_repeating_secrets(url, reason):
    with pytest.raises(ContextError, match=reason) as caught:
        check_url(url)
    assert "password" not in str(caught.value).replace("user, password", "")
