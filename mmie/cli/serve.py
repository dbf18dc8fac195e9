"""``mmie serve``: a web page and an HTTP API for one's own checkpoints."""

import ipaddress
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Literal

from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt

from mmie.app.limits import Limits
from mmie.cli.extractors import (
    ExtractorSettings,
    add_onnx_arguments,
    add_result_arguments,
    build_extractor,
    onnx_settings,
    result_options,
)
from mmie.cli.parsing import OneLineParser, UsageError, usage_errors
from mmie.cli.plugins import IMPORT_HELP
from mmie.inference import Extractor
from mmie.types import MmieError

Engine = Literal["local", "onnx"]
_REQUIRED_PACKAGES = ("fastapi", "uvicorn", "python_multipart")
_SHUTDOWN_SECONDS = 10
_HOST_PATTERN = re.compile(r"\*|(\*\.)?[\w-]+(\.[\w-]+)*|\[[\da-fA-F:.]+\]")


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
    for name in settings.allowed_hosts or ():
        if not _HOST_PATTERN.fullmatch(name):
            raise UsageError(
                f"--allowed_hosts: {name!r} is no name of a host: expected one without scheme "
                "and port, such as example.com or *.example.com"
            )
    missing = [name for name in _REQUIRED_PACKAGES if find_spec(name) is None]
    if missing:
        raise ServerUnavailable(f"mmie serve needs {', '.join(missing)}: pip install 'mmie[serve]'")
    # loading may take minutes, and a wrong port is reported before
    with _listen(settings.host, settings.port) as listener:
        with usage_errors():
            extractor = build_extractor(extractor_options(settings))
        _serve(extractor, settings, listener)


def extractor_options(settings: Namespace) -> ExtractorSettings:
    """Return the options of the extractor, whose methods decide on the number of crops."""
    return ExtractorSettings(
        ner=settings.ner,
        re=settings.re,
        device=settings.device,
        detector=settings.detector,
        batch_size=settings.limits.batch_size,
        results=result_options(settings),
        onnx=onnx_settings(settings),
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


def allowed_hosts(settings: Namespace, address: str) -> list[str]:
    """Return the names of the server to which requests are answered.

    A page on the web can make its own name stand for 127.0.0.1. A server that only this machine
    reaches therefore answers to no name of others.

    Args:
        settings: ``host`` and ``allowed_hosts``.
        address: Address that the server listens on.
    """
    from mmie.app.origin import LOOPBACK_HOSTS

    named = settings.allowed_hosts or []
    if named or ipaddress.ip_address(address).is_loopback:
        return [*LOOPBACK_HOSTS, settings.host, *named]
    return ["*"]


def _serve(extractor: Extractor, settings: Namespace, listener: socket.socket) -> None:
    """Serve an extractor until the process is interrupted."""
    import uvicorn

    from mmie.app.protocol import protocol_with_timeout
    from mmie.app.server import build_app

    host, port = listener.getsockname()[:2]
    limits = settings.limits
    config = uvicorn.Config(
        build_app(extractor, limits, allowed_hosts(settings, host)),
        http=protocol_with_timeout(limits.head_seconds),
        ws="none",
        log_level="warning",
        server_header=False,
        limit_concurrency=limits.max_connections,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
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
        epilog=IMPORT_HELP,
    )
    parser.add_argument(
        "--ner", type=str, required=True, help="Run folder or checkpoint that finds entities."
    )
    parser.add_argument(
        "--re",
        type=str | None,
        default=None,
        help="Run folder or checkpoint that finds relations between them.",
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
    parser.add_argument(
        "--allowed_hosts",
        type=str,
        nargs="+",
        default=None,
        metavar="NAME",
        help="Names of this server, such as example.com or *.example.com. Requests to other names "
        "are refused. By default a loopback address has the names of this machine, and any other "
        "address has any name.",
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
        "--engine",
        type=Engine,
        default="local",
        help="local: PyTorch; onnx: ONNX Runtime on the CPU.",
    )
    add_onnx_arguments(parser)
    add_result_arguments(parser)
    parser.add_argument(
        "--limits", type=Limits, default=Limits(), help="Limits of requests, sizes and times."
    )
    return parser
