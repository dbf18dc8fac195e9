"""Refused requests, and the responses to errors: a line of text in JSON each."""

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mmie.utils.text import replace_surrogates

RETRY_SECONDS = "1"
_MAX_REPEATED = 200
"""Most characters of a client's text that an error repeats."""


class Refusal(HTTPException):
    """A request that is refused.

    Args:
        status: HTTP status.
        reason: Reason in one line.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)

    def response(self, **headers: str) -> JSONResponse:
        """Return the response with the reason.

        Args:
            **headers: Further headers.
        """
        if self.status_code == 503:
            headers = {"Retry-After": RETRY_SECONDS, **headers}
        return JSONResponse({"error": self.detail}, self.status_code, headers)


async def handle_refusal(request: Request, error: Exception) -> Response:
    """Return the response to a request that is refused."""
    assert isinstance(error, Refusal)
    return error.response()


async def handle_malformed(request: Request, error: Exception) -> Response:
    """Return the response to a malformed request: its first fault, without the client's value."""
    assert isinstance(error, RequestValidationError)
    fault = error.errors()[0]
    if fault["type"] == "json_invalid":
        return Refusal(422, "no valid JSON").response()
    location = ".".join(str(part) for part in fault["loc"] if part != "body")
    reason = str(fault["msg"]).removeprefix("Value error, ")
    return Refusal(422, _single_line(f"{location}: {reason}" if location else reason)).response()


async def handle_http_error(request: Request, error: Exception) -> Response:
    """Return the response to a wrong path, method or form."""
    assert isinstance(error, HTTPException)
    response = Refusal(error.status_code, _single_line(str(error.detail))).response()
    response.headers.update(error.headers or {})
    return response


async def handle_error(request: Request, error: Exception) -> Response:
    """Return the response to a request on which the server failed.

    The error itself is in the server's log.
    """
    return Refusal(500, "the server failed to answer").response()


def _single_line(text: str) -> str:
    """Shorten a client's text to one line that UTF-8 can hold."""
    return " ".join(replace_surrogates(text[:_MAX_REPEATED]).split())
