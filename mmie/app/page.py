"""HTML pages, each of which is a single file that loads nothing else."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from mmie.utils.pages import PageAssets, read_asset

_TEMPLATES = Environment(
    loader=PackageLoader("mmie.app", "static"), autoescape=True, undefined=StrictUndefined
)
_DIRECTIVES = {
    "img-src": "data: blob:",  # the picture that was chosen, before it is sent
    "connect-src": "'self'",
    "frame-ancestors": "'none'",
}
"""Directives of the policy of a served page, beside those of every page."""


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
    scripts = [read_asset("mmie.app", f"static/{name}.js") for name in ("page", "correct")]
    assets = PageAssets(_read_style(), "\n".join(scripts))
    return _render("page.html", assets)


def describe_api(openapi: Mapping[str, Any]) -> Page:
    """Build the page that shows an OpenAPI description."""
    return _render(
        "docs.html",
        PageAssets(_read_style()),
        api=openapi,
        operations=list(_operations(openapi)),
        schemas=openapi["components"]["schemas"],
        describe_type=describe_type,
    )


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


def _render(template: str, assets: PageAssets, **values: Any) -> Page:
    """Fill in a template, and compute the policy of the page."""
    html = _TEMPLATES.get_template(template).render(assets=assets, **values)
    return Page(html, assets.policy(_DIRECTIVES))


def _read_style() -> str:
    """Read the style sheet of both pages."""
    return read_asset("mmie.app", "static/page.css")
