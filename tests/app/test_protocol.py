import http.client
import socket
import time

import pytest
from helpers.serving import serving

from mmie.app.limits import Limits

LIMITS = Limits(head_seconds=0.3, body_seconds=0.6)


@pytest.fixture
def address(told):
    with serving(told, LIMITS) as address:
        yield address


def seconds_until_closed(address, *parts, pause=0.1):
    """How long a connection stays open that sends these parts; and what it was answered."""
    start = time.monotonic()
    with socket.create_connection(address, timeout=5) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        answer = b""
        try:
            while data := connection.recv(65536):
                answer += data
        except ConnectionResetError:
            pass
        return time.monotonic() - start, answer


@pytest.mark.parametrize(
    "parts", [(), (b"GET / HTTP/1.1\r\n",), (b"GET / HTTP/1.1\r\nA: b\r\n", b"C: d\r\n")]
)
def test_a_head_that_does_not_come_is_not_waited_for(address, parts):
    seconds, answer = seconds_until_closed(address, *parts)
    assert (answer, seconds < 2) == (b"", True)


def test_a_second_head_on_a_connection_is_not_waited_for_either(address):
    first = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
    seconds, answer = seconds_until_closed(address, first, b"GET /he")
    assert answer.startswith(b"HTTP/1.1 200")
    assert seconds < 2


def test_a_slow_body_is_answered(address):
    head = b"POST /api/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
    seconds, answer = seconds_until_closed(address, head, b"a")
    assert answer.startswith(b"HTTP/1.1 408")
    assert 0.6 <= seconds < 3


def test_an_answer_may_take_longer_than_a_head(address, told):
    told.go.clear()
    connection = http.client.HTTPConnection(*address, timeout=5)
    body = b'{"posts": [{"text": "a"}]}'
    for _ in range(2):
        told.batches.clear()
        connection.request("POST", "/api/extract", body, {"Content-Type": "application/json"})
        told.started(1)
        time.sleep(0.4)
        told.go.set()
        answer = connection.getresponse()
        assert (answer.status, answer.read()[:9]) == (200, b'{"posts":')


def test_no_websocket_is_opened(address):
    upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n\r\n"
    assert seconds_until_closed(address, upgrade)[1].startswith(b"HTTP/1.1 200")
