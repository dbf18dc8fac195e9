"""Web page and HTTP API of `mmie serve`."""

__all__ = [
    "batcher",
    "errors",
    "explanation",
    "guard",
    "limits",
    "origin",
    "page",
    "parsing",
    "protocol",
    "schemas",
    "server",
    "service",
    "uploads",
]
