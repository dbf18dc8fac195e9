"""The pages, each one text that loads nothing from anywhere else."""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)
_TEMPLATES = Environment(
    loader=PackageLoader("mmie.app", "static"), autoescape=True, undefined=StrictUndefined
)


def build_page() -> tuple[str, str]:
    """The page to type a text and drop a picture, and its content security policy."""
    return _guarded(_TEMPLATES.get_template("page.html").render())


def describe_api(openapi: Mapping[str, Any]) -> tuple[str, str]:
    """An OpenAPI description to be read by people, and the page's content security policy."""
    text = _TEMPLATES.get_template("docs.html").render(
        api=openapi,
        operations=list(_operations(openapi)),
        schemas=openapi["components"]["schemas"],
        spell=spell_type,
    )
    return _guarded(text)


def spell_type(schema: Mapping[str, Any]) -> str:
    """A JSON schema in a few words.

    >>> spell_type({"type": "array", "items": {"$ref": "#/components/schemas/Found"}})
    'list of Found'
    >>> spell_type({"anyOf": [{"type": "number"}, {"type": "null"}]})
    'number or null'
    """
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(spell_type(option) for option in schema["anyOf"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {spell_type(schema['items'])}"
    encoded = " (base64)" if schema.get("contentEncoding") == "base64" else ""
    return (" or ".join(kind) if isinstance(kind, list) else str(kind)) + encoded


def _operations(openapi: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What can be asked of the server."""
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            yield {
                "method": method.upper(),
                "path": path,
                "purpose": operation.get("description", ""),
                "takes": [(kind, spell_type(body["schema"])) for kind, body in content.items()],
                "answers": [
                    (status, answer["description"], _schema_of(answer))
                    for status, answer in operation["responses"].items()
                ],
            }


def _schema_of(answer: Mapping[str, Any]) -> str:
    """What an answer holds."""
    schema = answer.get("content", {}).get("application/json", {}).get("schema")
    return spell_type(schema) if schema else ""


def _guarded(text: str) -> tuple[str, str]:
    """A page, and a policy that lets its own script and style run, and nothing else."""
    hashes: dict[str, str] = {"script": "", "style": ""}
    for kind, content in _INLINE.findall(text):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        hashes[kind] += f" 'sha256-{digest}'"
    rules = [kind + "-src" + (allowed or " 'none'") for kind, allowed in hashes.items()]
    fixed = [
        "default-src 'none'",
        "img-src data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return text, "; ".join([*fixed, *rules, "frame-ancestors 'none'"])
