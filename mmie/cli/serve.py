"""``mmie serve``: a web page and an endpoint for one's own checkpoints."""

import socket
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec

from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt

from mmie.app.limits import Limits
from mmie.cli.parsing import OneLineParser, UsageError, usage_errors
from mmie.grounding.detectors import build_detector
from mmie.grounding.ground import Cropper
from mmie.inference import Extractor, load_extractor
from mmie.types import MmieError
from mmie.utils.devices import resolve_device

_NEEDED = ("fastapi", "uvicorn", "python_multipart")
_SHUTDOWN_SECONDS = 10


class ServerUnavailable(MmieError, RuntimeError):
    """What the server is made of is not installed."""


def serve_command(arguments: Sequence[str]) -> None:
    """``mmie serve``.

    Raises:
        UsageError: An option is wrong, or the port cannot be had.
        ServerUnavailable: The server's packages are not installed.
        CheckpointError: A file is no checkpoint of its task.
    """
    parser = _serve_parser()
    settings = parser.parse_args(list(arguments))
    with usage_errors():
        chosen = parser.instantiate(settings)
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ServerUnavailable(f"mmie serve needs {', '.join(missing)}: pip install 'mmie[serve]'")
    with _listen(chosen.host, chosen.port) as listener:
        extractor = build_extractor(chosen)
        _serve(extractor, chosen.limits, listener)


def build_extractor(chosen: Namespace) -> Extractor:
    """The extractor of the checkpoints and the detector that were chosen.

    Raises:
        CheckpointError: A file is no checkpoint, or is one of the other task.
        DeviceError: There is no such device.
        GroundingError: There is no such detector.
    """
    extractor = load_extractor(
        chosen.ner, chosen.re, device=chosen.device, batch_size=chosen.limits.batch_size
    )
    crops = max((form.num_views - 1 for form in extractor.formats), default=0)
    if chosen.detector != "none" and crops > 0:
        extractor.cropper = Cropper(
            build_detector(chosen.detector, resolve_device(chosen.device)), crops
        )
    return extractor


def _listen(host: str, port: int) -> socket.socket:
    """A socket that is taken before minutes go by with loading.

    Raises:
        UsageError: It cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"cannot listen on {host} port {port} ({error}): name others with --host and --port"
        ) from error


def _serve(extractor: Extractor, limits: Limits, listener: socket.socket) -> None:
    """Answer until interrupted."""
    import uvicorn

    from mmie.app.protocol import patience
    from mmie.app.server import build_app

    config = uvicorn.Config(
        build_app(extractor, limits),
        http=patience(limits.head_seconds),
        ws="none",
        log_level="warning",
        server_header=False,
        limit_concurrency=limits.max_connections,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    host, port = listener.getsockname()[:2]
    print(f"http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
    with suppress(KeyboardInterrupt):  # uvicorn hands it on when all is ended in order
        uvicorn.Server(config).run(sockets=[listener])


def _serve_parser() -> OneLineParser:
    """What ``mmie serve`` understands."""
    parser = OneLineParser(
        prog="mmie serve",
        description="Serve checkpoints as a web page, and as an endpoint for programs (see /docs). There is no login: "
        "on a host that others reach, put it behind a server that has one.",
    )
    parser.add_argument("--ner", type=str, required=True, help="Checkpoint that finds entities.")
    parser.add_argument(
        "--re", type=str | None, default=None, help="Checkpoint that finds relations between them."
    )
    parser.add_argument(
        "--host", type=str, default="127.0.0.1", help="Address to listen on; 0.0.0.0 is all."
    )
    parser.add_argument(
        "--port", type=NonNegativeInt, default=8000, help="Port; 0 takes a free one."
    )
    parser.add_argument(
        "--device", type=str, default="auto", help="auto takes a GPU, if there is one."
    )
    parser.add_argument(
        "--detector",
        type=str,
        default="none",
        help="Cuts object crops: none, center (no weights), coco, coco:FILE, a folder or hub name, or several: a+b.",
    )
    parser.add_argument("--limits", type=Limits, default=Limits(), help="What requests may bring.")
    return parser
