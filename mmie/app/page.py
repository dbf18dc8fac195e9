"""HTML pages, each of which is a single file that loads nothing else."""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)
_TEMPLATES = Environment(
    loader=PackageLoader("mmie.app", "static"), autoescape=True, undefined=StrictUndefined
)


class Page(NamedTuple):
    """An HTML page.

    Attributes:
        html: Text of the page.
        policy: Content security policy, which allows the page's own script and style alone.
    """

    html: str
    policy: str


def build_page() -> Page:
    """Build the page with the form for a text and a picture."""
    return _with_policy(_TEMPLATES.get_template("page.html").render())


def describe_api(openapi: Mapping[str, Any]) -> Page:
    """Build the page that shows an OpenAPI description."""
    html = _TEMPLATES.get_template("docs.html").render(
        api=openapi,
        operations=list(_operations(openapi)),
        schemas=openapi["components"]["schemas"],
        describe_type=describe_type,
    )
    return _with_policy(html)


def describe_type(schema: Mapping[str, Any]) -> str:
    """Describe the type of a JSON schema in a few words.

    >>> describe_type({"type": "array", "items": {"$ref": "#/components/schemas/PostIn"}})
    'list of PostIn'
    >>> describe_type({"anyOf": [{"type": "number"}, {"type": "null"}]})
    'number or null'
    """
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(describe_type(option) for option in schema["anyOf"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {describe_type(schema['items'])}"
    name = " or ".join(kind) if isinstance(kind, list) else str(kind)
    return f"{name} (base64)" if schema.get("contentEncoding") == "base64" else name


def _operations(openapi: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the operations of an OpenAPI description as the template shows them."""
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            bodies = operation.get("requestBody", {}).get("content", {})
            responses = []
            for status, response in operation["responses"].items():
                schema = response.get("content", {}).get("application/json", {}).get("schema")
                type_name = describe_type(schema) if schema else ""
                responses.append((status, response["description"], type_name))
            yield {
                "method": method.upper(),
                "path": path,
                "description": operation.get("description", ""),
                "bodies": [(kind, describe_type(body["schema"])) for kind, body in bodies.items()],
                "responses": responses,
            }


def _with_policy(html: str) -> Page:
    """Add a content security policy that allows a page's own script and style by their hashes."""
    hashes: dict[str, str] = {"script": "", "style": ""}
    for kind, content in _INLINE.findall(html):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        hashes[kind] += f" 'sha256-{digest}'"
    rules = [
        "default-src 'none'",
        "img-src data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    for kind, sources in hashes.items():
        rules.append(f"{kind}-src" + (sources or " 'none'"))
    rules.append("frame-ancestors 'none'")
    return Page(html, "; ".join(rules))
