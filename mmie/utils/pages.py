"""Style sheet and script of an HTML page, and the content security policy that allows these alone.

The policy is computed from the files of the package that a page is built with, and not from the
finished page. A browser therefore runs no script and applies no style that came into the page with
a foreign text, whatever the escaping of texts has missed.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files

from markupsafe import Markup

_DIRECTIVES: Mapping[str, str] = {
    "default-src": "'none'",
    "img-src": "data:",
    "base-uri": "'none'",
    "form-action": "'none'",
}
"""Directives of every page. Pages load nothing, and hold their pictures as data."""


@dataclass(frozen=True, slots=True)
class PageAssets:
    """Style sheet and script of a page.

    Attributes:
        style: Style sheet.
        script: Script, empty if the page has none.
        framed_styles: Style sheets of pages in frames. The policy of a page holds for the frames
            whose content it embeds as well.
    """

    style: str
    script: str = ""
    framed_styles: tuple[str, ...] = ()

    @property
    def head(self) -> Markup:
        """Policy and style sheet as elements, before which a page holds no style and no script."""
        policy = f'<meta http-equiv="Content-Security-Policy" content="{self.policy()}">'
        return Markup(f"{policy}\n{self.style_element}")

    @property
    def style_element(self) -> Markup:
        """Style sheet as an element, for a page whose policy is sent in a header."""
        return Markup(f"<style>{self.style}</style>")

    @property
    def script_element(self) -> Markup:
        """Script as an element."""
        return Markup(f"<script>{self.script}</script>")

    def policy(self, directives: Mapping[str, str] | None = None) -> str:
        """Compute the content security policy, which allows the style sheets and the script.

        Args:
            directives: Further directives, which replace those of the same name.
        """
        sources = {
            **_DIRECTIVES,
            "script-src": _hashes([self.script]),
            "style-src": _hashes([self.style, *self.framed_styles]),
            **(directives or {}),
        }
        return "; ".join(f"{name} {value}" for name, value in sources.items())


def read_asset(package: str, name: str) -> str:
    """Read a style sheet or a script of the package.

    Args:
        package: Package that holds the file, such as ``mmie.reports``.
        name: Path of the file in the package.
    """
    return files(package).joinpath(name).read_text(encoding="utf-8")


def _hashes(contents: Iterable[str]) -> str:
    """Return the sources that allow inline elements with these contents, ``'none'`` without any."""
    sources = []
    for content in dict.fromkeys(filter(None, contents)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        sources.append(f"'sha256-{digest}'")
    return " ".join(sources) or "'none'"
