"""Stub of an OpenAI-compatible endpoint, in a thread of the tests' process."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ChatEndpoint:
    """Recorded requests of a stub, and what it answers.

    Attributes:
        url: URL up to ``/v1``.
        requests: Bodies of the requests.
        headers: Headers of the requests, with names in lower case.
        statuses: Statuses of the next requests; 200 once they are used up.
        retry_after: Header of the next failures; empty for none.
        content: Content of an answer; None answers with the last message's text in upper case.
        body: Body of an answer; None for a completion.
    """

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self.statuses: list[int] = []
        self.retry_after = ""
        self.content: str | None = None
        self.body: bytes | None = None

    def reply(self, body: dict) -> bytes:
        """Build the body of an answer."""
        if self.body is not None:
            return self.body
        content = body["messages"][-1]["content"]
        text = content if isinstance(content, str) else content[0]["text"]
        message = {"role": "assistant", "content": self.content or text.upper()}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        completion = {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"]}
        return json.dumps({**completion, "choices": [choice]}).encode()


@contextmanager
def chat_endpoint() -> Iterator[ChatEndpoint]:
    """Serve a stub while the body runs."""
    stub = ChatEndpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stub.requests.append(body)
            stub.headers.append({name.lower(): text for name, text in self.headers.items()})
            status = stub.statuses.pop(0) if stub.statuses else 200
            key = self.headers["Authorization"].removeprefix("Bearer ")
            failure = json.dumps({"error": {"message": f"status {status} for {key}"}}).encode()
            reply = stub.reply(body) if status == 200 else failure
            self.send_response(status)
            if status != 200 and stub.retry_after:
                self.send_header("Retry-After", stub.retry_after)
            if 300 <= status < 400:
                self.send_header("Location", stub.url + "/elsewhere")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *arguments: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
