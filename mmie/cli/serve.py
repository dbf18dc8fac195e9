"""``mmie serve``: a web page and an HTTP API for one's own checkpoints."""

import socket
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec

from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt

from mmie.app.limits import Limits
from mmie.cli.extractors import ExtractorSettings, build_extractor
from mmie.cli.parsing import OneLineParser, UsageError, usage_errors
from mmie.inference import Extractor
from mmie.types import MmieError

_REQUIRED_PACKAGES = ("fastapi", "uvicorn", "python_multipart")
_SHUTDOWN_SECONDS = 10


class ServerUnavailable(MmieError, RuntimeError):
    """Packages of the server that are not installed."""


def serve_command(arguments: Sequence[str]) -> None:
    """Run ``mmie serve``.

    Raises:
        UsageError: An option is wrong, or the server cannot listen on the port.
        ServerUnavailable: The server's packages are not installed.
        CheckpointError: A file is no checkpoint of its task.
        GroundingError: The detector is not known.
    """
    parser = _serve_parser()
    settings = parser.parse_args(list(arguments))
    with usage_errors():
        settings = parser.instantiate(settings)
    missing = [name for name in _REQUIRED_PACKAGES if find_spec(name) is None]
    if missing:
        raise ServerUnavailable(f"mmie serve needs {', '.join(missing)}: pip install 'mmie[serve]'")
    # loading may take minutes, and a wrong port is reported before
    with _listen(settings.host, settings.port) as listener:
        extractor = build_extractor(extractor_options(settings))
        _serve(extractor, settings.limits, listener)


def extractor_options(settings: Namespace) -> ExtractorSettings:
    """Return the options of the extractor, whose methods decide on the number of crops."""
    return ExtractorSettings(
        ner=settings.ner,
        re=settings.re,
        device=settings.device,
        detector=settings.detector,
        batch_size=settings.limits.batch_size,
    )


def _listen(host: str, port: int) -> socket.socket:
    """Open a listening socket.

    Raises:
        UsageError: The host or the port is wrong or in use.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"cannot listen on {host} port {port} ({error}): name others with --host and --port"
        ) from error


def _serve(extractor: Extractor, limits: Limits, listener: socket.socket) -> None:
    """Serve an extractor until the process is interrupted."""
    import uvicorn

    from mmie.app.protocol import protocol_with_timeout
    from mmie.app.server import build_app

    config = uvicorn.Config(
        build_app(extractor, limits),
        http=protocol_with_timeout(limits.head_seconds),
        ws="none",
        log_level="warning",
        server_header=False,
        limit_concurrency=limits.max_connections,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    host, port = listener.getsockname()[:2]
    url_host = f"[{host}]" if ":" in host else host
    print(f"http://{url_host}:{port}", flush=True)
    with suppress(KeyboardInterrupt):  # uvicorn raises it again after an orderly shutdown
        uvicorn.Server(config).run(sockets=[listener])


def _serve_parser() -> OneLineParser:
    """Build the parser of ``mmie serve``."""
    parser = OneLineParser(
        prog="mmie serve",
        description="Serve checkpoints as a web page and as an HTTP API for programs (see /docs). "
        "There is no login: on a host that others can reach, run it behind a server that has one.",
    )
    parser.add_argument("--ner", type=str, required=True, help="Checkpoint that finds entities.")
    parser.add_argument(
        "--re", type=str | None, default=None, help="Checkpoint that finds relations between them."
    )
    parser.add_argument(
        "--host",
        type=str,
        default="127.0.0.1",
        help="Address to listen on; 0.0.0.0 is every address of this machine.",
    )
    parser.add_argument(
        "--port", type=NonNegativeInt, default=8000, help="Port; 0 is any free port."
    )
    parser.add_argument("--device", type=str, default="auto", help="auto is a GPU if there is one.")
    parser.add_argument(
        "--detector",
        type=str,
        default="none",
        help="Detector that cuts crops: none, center (no weights), coco, coco:FILE, a folder or "
        "hub name, or several: a+b.",
    )
    parser.add_argument(
        "--limits", type=Limits, default=Limits(), help="Limits of requests, sizes and times."
    )
    return parser
