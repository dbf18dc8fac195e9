"""A checker of HTML pages that must be well formed and load nothing."""

import re
from html.parser import HTMLParser

VOID_TAGS = {"meta", "img", "br", "link", "input", "hr"}
LOADING_ATTRIBUTES = ("src", "srcset", "data", "poster", "action")


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
    for address in parsed.loads + parsed.links:
        assert address.startswith("data:image/jpeg;base64,")
    assert not re.search(r"https?:|url\(|@import|<script|nan\b", page)
    return parsed
