"""Web page and HTTP API of `mmie serve`."""

__all__ = [
    "batcher",
    "errors",
    "explanation",
    "guard",
    "limits",
    "page",
    "protocol",
    "schemas",
    "server",
    "service",
]
