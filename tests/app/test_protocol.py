"""Connections whose heads, bodies or responses are slow."""

import http.client
import socket
import time

import pytest
from helpers.serving import serving

from mmie.app.limits import Limits

LIMITS = Limits(head_seconds=0.3, body_seconds=0.6)


@pytest.fixture
def address(fake_extractor):
    with serving(fake_extractor, LIMITS) as address:
        yield address


def seconds_until_closed(address, *parts, pause=0.1):
    """Send parts of a request and wait until the server closes the connection.

    Returns:
        Seconds until the connection was closed, and the response.
    """
    start = time.monotonic()
    with socket.create_connection(address, timeout=5) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        response = b""
        try:
            while data := connection.recv(65536):
                response += data
        except ConnectionResetError:
            pass
        return time.monotonic() - start, response


@pytest.mark.slow
@pytest.mark.parametrize(
    "parts", [(), (b"GET / HTTP/1.1\r\n",), (b"GET / HTTP/1.1\r\nA: b\r\n", b"C: d\r\n")]
)
def test_connection_without_a_head_is_closed(address, parts):
    seconds, response = seconds_until_closed(address, *parts)
    assert (response, seconds < 2) == (b"", True)


def test_connection_without_a_second_head_is_closed(address):
    first = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
    seconds, response = seconds_until_closed(address, first, b"GET /he")
    assert response.startswith(b"HTTP/1.1 200")
    assert seconds < 2


def test_slow_body_gets_a_response(address):
    head = b"POST /api/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
    seconds, response = seconds_until_closed(address, head, b"a")
    assert response.startswith(b"HTTP/1.1 408")
    assert 0.6 <= seconds < 3


@pytest.mark.slow
def test_response_may_take_longer_than_a_head(address, fake_extractor):
    fake_extractor.unblocked.clear()
    connection = http.client.HTTPConnection(*address, timeout=5)
    body = b'{"posts": [{"text": "a"}]}'
    for _ in range(2):
        fake_extractor.batches.clear()
        connection.request("POST", "/api/extract", body, {"Content-Type": "application/json"})
        fake_extractor.wait_for_calls(1)
        time.sleep(0.4)
        fake_extractor.unblocked.set()
        response = connection.getresponse()
        assert (response.status, response.read()[:9]) == (200, b'{"posts":')


def test_websockets_are_not_opened(address):
    upgrade = (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: a\r\n\r\n"
    )
    assert seconds_until_closed(address, upgrade)[1].startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(("size", "status"), [(1, b"400"), (255, b"400"), (256, b"422")])
def test_body_of_many_small_chunks_is_refused(address, size, status):
    head = (
        b"POST /api/extract HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: application/json\r\nConnection: close\r\n\r\n"
    )
    chunk = f"{size:x}\r\n".encode() + b" " * size + b"\r\n"
    _, response = seconds_until_closed(address, head + 1001 * chunk + b"0\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 " + status)
