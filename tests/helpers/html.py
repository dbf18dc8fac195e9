"""Checkers of HTML pages that must be well formed, load nothing, and hold to their policy."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser

VOID_TAGS = {"meta", "img", "br", "link", "input", "hr"}
LOADING_ATTRIBUTES = ("src", "srcset", "data", "poster", "action")
ADDRESSES = {*LOADING_ATTRIBUTES, "href", "xlink:href", "background", "formaction", "ping"}
ALLOWED_SOURCE = re.compile(r"'none'|data:|'sha256-[A-Za-z0-9+/]{43}='")
IGNORED_IN_META = {"frame-ancestors", "report-uri", "sandbox"}
"""Directives that a browser ignores in an element, and complains of."""


class ParsedPage(HTMLParser):
    """Parts of a page whose elements are closed in order.

    Attributes:
        tags: Names of all elements.
        text: Texts, and the contents of styles and scripts.
        headings: Levels of the headings.
        images: Attributes of the pictures.
        ids: All ids.
        links: Targets of links.
        loads: Everything that a browser would load.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.headings: list[int] = []
        self.images: list[dict] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        """Collect the parts of an element."""
        values = dict(attributes)
        self.tags.append(tag)
        if tag not in VOID_TAGS:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "img":
            self.images.append(values)
        if "id" in values:
            self.ids.append(values["id"])
        if "href" in values:
            (self.links if tag == "a" else self.loads).append(values["href"])
        self.loads += [values[name] for name in LOADING_ATTRIBUTES if name in values]

    def handle_startendtag(self, tag, attributes):
        """Collect the parts of an element without content."""
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        """Check that the element that was opened last is closed first."""
        if tag not in VOID_TAGS:
            assert self.open.pop() == tag

    def handle_data(self, data):
        """Collect text."""
        self.text.append(data)


def parse_static_page(page: str) -> ParsedPage:
    """Parse a page that must be well formed, and hold no script and no address but JPEG data."""
    parsed = ParsedPage(page)
    PolicyCheck(page)
    for address in parsed.loads + parsed.links:
        assert address.startswith("data:image/jpeg;base64,")
    assert not re.search(r"https?:|url\(|@import|<script|nan\b", page)
    return parsed


class PolicyCheck(HTMLParser):
    """Check that a page, and what it embeds, holds only what its policies allow.

    Args:
        page: The page.
        outer: Policies of the pages that embed this one, which hold for it as well.

    Raises:
        AssertionError: The page has no policy before its first style or script, a style or a script
            has no hash in a policy, an attribute holds a style or a script, a frame is not in a
            sandbox, or an address is not that of data or of a part of the page.
    """

    def __init__(self, page: str, outer: Sequence[Mapping[str, Sequence[str]]] = ()) -> None:
        super().__init__()
        self.policies = list(outer)
        self.has_own_policy = False
        self.element: str | None = None
        self.content = ""
        self.feed(page)
        self.close()
        assert self.has_own_policy, "no policy"
        assert self.element is None, f"<{self.element}> without an end"

    def handle_starttag(self, tag, attributes):
        """Check the attributes of an element."""
        values = dict(attributes)
        for name, value in attributes:
            assert name != "style", f"style {value!r}"
            assert not name.startswith("on"), f"{name} {value!r}"
            if name in ADDRESSES:
                assert re.match(r"#|data:image/jpeg;base64,", value), f"{name} {value!r}"
        if tag == "body":
            assert self.has_own_policy, "no policy in the head"
        if tag == "meta" and values.get("http-equiv", "").lower() == "content-security-policy":
            self._add_policy(values["content"])
        assert tag not in ("base", "object", "embed", "applet", "link"), tag
        if tag in ("script", "style"):
            assert self.has_own_policy, f"<{tag}> stands before the policy"
            self.element, self.content = tag, ""
        if tag == "iframe":
            assert values.get("sandbox") == "", "a frame without sandbox"
            PolicyCheck(values["srcdoc"], self.policies)

    def handle_startendtag(self, tag, attributes):
        """Check an element without content; HTML has no such script or style."""
        assert tag not in ("script", "style"), tag
        self.handle_starttag(tag, attributes)

    def handle_data(self, data):
        """Collect the content of a style or a script."""
        self.content += data

    def handle_endtag(self, tag):
        """Check the content of a style or a script."""
        if tag != self.element:
            return
        self.element = None
        digest = base64.b64encode(hashlib.sha256(self.content.encode()).digest()).decode()
        for policy in self.policies:
            assert f"'sha256-{digest}'" in policy[f"{tag}-src"], f"<{tag}> without a hash"
        assert not re.search(r"@import|url\((?!#)|https?:", self.content), (
            f"<{tag}> with an address"
        )

    def _add_policy(self, content):
        """Parse a policy, and check that it allows nothing but hashes and data."""
        policy = {}
        for directive in content.split(";"):
            name, *sources = directive.split()
            assert name not in policy, f"{name} twice"
            policy[name] = sources
            assert all(map(ALLOWED_SOURCE.fullmatch, sources)), directive
        for name in ("default-src", "base-uri", "form-action"):
            assert policy[name] == ["'none'"], name
        for name in ("script-src", "style-src"):
            assert name in policy, name
        assert not set(policy) & IGNORED_IN_META, content
        self.policies.append(policy)
        self.has_own_policy = True
