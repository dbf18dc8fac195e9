"""What tests of the server share: pictures, an extractor that does as it is told, and a server in a thread."""

import contextlib
import io
import socket
import threading
import time

import torch
import uvicorn
from PIL import Image

from mmie.app.limits import Limits
from mmie.app.protocol import patience
from mmie.app.server import build_app
from mmie.types import Extraction


def picture_bytes(size=(96, 64), kind="PNG", seed=0) -> bytes:
    """The file of a picture of noise."""
    width, height = size
    pixels = torch.randint(
        0, 256, (height, width, 3), generator=torch.Generator().manual_seed(seed)
    ).byte()
    buffer = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(buffer, kind)
    return buffer.getvalue()


class Told:
    """Stands in for an `Extractor`: finds nothing, and waits to be let go on.

    Attributes:
        batches: Texts of the posts of each call.
    """

    ner = re = cropper = None
    formats = ()

    def __init__(self) -> None:
        self.batches = []
        self.go = threading.Event()
        self.go.set()

    def extract(self, posts):
        posts = list(posts)
        self.batches.append([post.text for post in posts])
        assert self.go.wait(20)
        if any(post.text == "fail" for post in posts):
            raise RuntimeError("told to fail")
        return [Extraction(post.id, post.text, ()) for post in posts]

    def started(self, calls: int) -> None:
        """Wait until so many calls have begun."""
        end = time.monotonic() + 10
        while len(self.batches) < calls:
            assert time.monotonic() < end, "the extractor was not called"
            time.sleep(0.005)


@contextlib.contextmanager
def serving(extractor, limits=None):
    """A server in a thread of this process; gives host and port."""
    limits = limits or Limits()
    app = build_app(extractor, limits)
    http = patience(limits.head_seconds)
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
