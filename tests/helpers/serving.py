"""Pictures, a fake extractor that can be blocked, and a server in a thread."""

import base64
import contextlib
import io
import socket
import struct
import threading
import time
import zlib

import torch
import uvicorn
from PIL import Image

from mmie.app.limits import Limits
from mmie.app.protocol import protocol_with_timeout
from mmie.app.server import build_app
from mmie.types import Extraction


def picture_bytes(size=(96, 64), kind="PNG", seed=0) -> bytes:
    """Return the bytes of a picture file of noise."""
    width, height = size
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (height, width, 3), generator=generator).byte()
    buffer = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(buffer, kind)
    return buffer.getvalue()


def huge_png(width, height):
    """Return the few bytes of a PNG file whose header declares a large picture."""
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(bytes(99)),
    }
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in chunks.items():
        checksum = struct.pack(">I", zlib.crc32(name + data))
        content += struct.pack(">I", len(data)) + name + data + checksum
    return content


def as_base64(data):
    return base64.b64encode(data).decode()


POSTSCRIPT = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    b"(/etc/passwd) run showpage\n%%EOF\n"
)
UNREADABLE = {
    "text": (
        b"hello",
        "not a picture of a kind that is read here: JPEG, PNG, WEBP, GIF, BMP, TIFF",
    ),
    "postscript": (
        POSTSCRIPT,
        "not a picture of a kind that is read here: JPEG, PNG, WEBP, GIF, BMP, TIFF",
    ),
    "large": (huge_png(6000, 6000), "more than 25000000 pixels"),
    "bomb": (huge_png(60000, 60000), "more than 25000000 pixels"),
    "truncated": (picture_bytes()[:400], "truncated"),
}
"""Picture files that are refused, each with the reason."""


class FakeExtractor:
    """Replacement of an `Extractor` that finds nothing and can be blocked.

    Attributes:
        batches: Texts of the posts of each call.
        unblocked: Calls wait until this event is set, as it is at first.
    """

    ner = re = cropper = None
    formats = ()

    def __init__(self) -> None:
        self.batches = []
        self.unblocked = threading.Event()
        self.unblocked.set()

    def extract(self, posts):
        posts = list(posts)
        self.batches.append([post.text for post in posts])
        assert self.unblocked.wait(20)
        if any(post.text == "fail" for post in posts):
            raise RuntimeError("the text asks for a failure")
        return [Extraction(post.id, post.text, ()) for post in posts]

    def wait_for_calls(self, count: int) -> None:
        """Wait until so many calls have begun."""
        end = time.monotonic() + 10
        while len(self.batches) < count:
            assert time.monotonic() < end, "the extractor was not called"
            time.sleep(0.005)


@contextlib.contextmanager
def serving(extractor, limits=None):
    """Run a server in a thread of this process and provide its host and port."""
    limits = limits or Limits()
    app = build_app(extractor, limits)
    http = protocol_with_timeout(limits.head_seconds)
    config = uvicorn.Config(
        app, http=http, ws="none", log_level="critical", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join(10)
