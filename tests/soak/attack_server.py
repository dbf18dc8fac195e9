"""Attacks on a running server, and how it answers others meanwhile.

Usage: ``attack_server.py --ner NER.ckpt [--re RE.ckpt]``, with the options of ``mmie serve``.

The program starts ``mmie serve``. During each attack it asks for ``/health`` and sends a small post
ten times a second. A line for each attack has the statuses and seconds of its requests, the longest
time of ``/health``, the answered posts of others with their longest time, and the server's peak
memory above that of the idle server.
"""

import base64
import io
import json
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

MIB = 2**20
SIDE = 5000
"""Side of a picture of the largest size, 25 million pixels."""


def one_colour(mode: str, kind: str, **options: object) -> bytes:
    """Return the bytes of a picture of one colour and of the largest size."""
    if mode == "I;16":
        picture = Image.fromarray(np.full((SIDE, SIDE), 300, np.uint16))
    else:
        picture = Image.new(mode, (SIDE, SIDE))
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def posts_with(picture: bytes, count: int) -> bytes:
    """Return the body of a request whose posts have the same picture."""
    image = base64.b64encode(picture).decode()
    return json.dumps({"posts": [{"text": "Jordan", "image": image}] * count}).encode()


def repeat_last_scan(jpeg: bytes, count: int) -> bytes:
    """Return a progressive JPEG whose last scan is repeated."""
    scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    return jpeg[:-2] + count * scan + jpeg[-2:]


def make_attacks() -> dict[str, list[bytes]]:
    """Return attacks, each of which is the bodies of simultaneous requests."""
    grey = one_colour("I;16", "PNG")
    floats = one_colour("F", "TIFF", compression="tiff_deflate")
    colour = one_colour("RGB", "PNG")
    scans = repeat_last_scan(one_colour("L", "JPEG", progressive=True), 500)
    tiny = b'{"posts":[' + b",".join([b"{}"] * (4 * MIB // 3)) + b"]}"
    valid = b'{"posts":[' + b",".join([b'{"text":""}'] * (8 * MIB // 12)) + b"]}"
    keys = b",".join(b'"%d":0' % number for number in range(80_000))
    return {
        "empty posts, 4 MiB": [tiny],
        "valid posts, 8 MiB": [valid],
        "empty posts, 16 MiB, 8 requests": [b'{"posts":[' + b"{}," * (5 * MIB) + b"{}]}"] * 8,
        "80,000 keys in a post, 8 requests": [b'{"posts":[{' + keys + b"}]}"] * 8,
        "32 pictures of 25 Mpixel, 16-bit grey": [posts_with(grey, 32)],
        "4 requests of 32 pictures, 32-bit floats": [posts_with(floats, 32)] * 4,
        "8 requests of 2 pictures, 16-bit grey": [posts_with(grey, 2)] * 8,
        "8 requests of 2 pictures, RGB": [posts_with(colour, 2)] * 8,
        "JPEG of 500 scans": [posts_with(scans, 1)],
    }


def send(url: str, body: bytes | None = None, seconds: float = 120) -> tuple[int, float]:
    """Send a request and return its status and its seconds; status 0 is no response."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    start = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=seconds) as response:
            response.read()
            status = response.status
    except urllib.error.HTTPError as error:
        status = error.code
    except OSError:
        status = 0
    return status, time.monotonic() - start


def peak_memory(pid: int) -> int:
    """Return the peak resident memory of a process in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])


def watch(url: str, body: bytes | None, ended: threading.Event) -> list[tuple[int, float]]:
    """Send a request ten times a second until the attack has ended, and once more."""
    outcomes = []
    while not ended.is_set():
        outcomes.append(send(url, body))
        time.sleep(0.1)
    return [*outcomes, send(url, body)]


def attack(url: str, bodies: Iterable[bytes]) -> str:
    """Send bodies at the same time and describe the answers to them and to others."""
    ended = threading.Event()
    small = json.dumps({"posts": [{"text": "Jordan lands in Phoenix"}]}).encode()
    with ThreadPoolExecutor(16) as pool:
        health = pool.submit(watch, f"{url}/health", None, ended)
        others = pool.submit(watch, f"{url}/api/extract", small, ended)
        time.sleep(0.5)
        outcomes = list(pool.map(lambda body: send(f"{url}/api/extract", body), bodies))
        ended.set()
    statuses = dict(Counter(status for status, _ in outcomes))
    answered = [seconds for status, seconds in others.result() if status == 200]
    return (
        f"{statuses} within {max(seconds for _, seconds in outcomes):.1f} s, "
        f"/health {max(seconds for _, seconds in health.result()):.2f} s, "
        f"others {len(answered)} of {len(others.result())} within {max(answered):.1f} s"
    )


def main() -> None:
    """Start a server and attack it."""
    command = [sys.executable, "-m", "mmie.cli", "serve", "--port=0", *sys.argv[1:]]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip()
        attack(url, [])
        idle = peak_memory(server.pid)
        for name, bodies in make_attacks().items():
            outcome = attack(url, bodies)
            memory = (peak_memory(server.pid) - idle) / MIB
            print(f"{name}: {outcome}, +{memory:.0f} MiB", flush=True)
    finally:
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    main()
