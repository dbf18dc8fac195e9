"""Policies of pages, and pages that a policy does not allow."""

import re

import pytest
from helpers.browser import browse, needs_chromium
from helpers.html import PolicyCheck
from helpers.paths import PACKAGE

from mmie.utils.pages import PageAssets, read_asset

ASSETS = PageAssets("p { color: teal; }", "document.title = 'own';")
FRAMED = PageAssets("p { color: navy; }")
INJECTED = "<script>document.documentElement.lang = 'injected'</script>"


def build_page(assets=ASSETS, content="<p>text</p>"):
    """Build a page with this content before its script."""
    script = assets.script_element if assets.script else ""
    head = f'<meta charset="utf-8">{assets.head}<title>none</title>'
    return f"<!doctype html><html><head>{head}</head><body>{content}{script}</body></html>"


def build_frame(content="<p>inner</p>", sandbox='sandbox=""'):
    """Build a frame that embeds a page."""
    page = build_page(FRAMED, content).replace("&", "&amp;").replace('"', "&quot;")
    return f'<iframe {sandbox} srcdoc="{page}"></iframe>'


FRAMING = PageAssets(ASSETS.style, ASSETS.script, (FRAMED.style,))


@pytest.mark.parametrize(
    "page",
    [
        build_page(),
        build_page(FRAMED),
        build_page(FRAMING, build_frame()),
        build_page(content="<p>&lt;script&gt;</p><img src='data:image/jpeg;base64,A'>"),
    ],
)
def test_a_page_that_holds_to_its_policy_passes(page):
    PolicyCheck(page)


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        (build_page(content=INJECTED), "<script> without a hash"),
        (build_page(FRAMED, ASSETS.script_element), "<script> without a hash"),
        (build_page(content="<style>p { color: red; }</style>"), "<style> without a hash"),
        (build_page(content="<script src='data:,1'></script>"), "src 'data:,1'"),
        (build_page(content="<p style='color: red'>"), "style 'color: red'"),
        (build_page(content="<svg onload='f()'/>"), "onload"),
        (build_page(content="<img src='https://other.example/a.png'>"), "src 'https:"),
        (build_page(content="<a href='//other.example'>a</a>"), "href '//other"),
        (build_page(content="<use xlink:href='a.svg#b'/>"), "xlink:href 'a.svg"),
        (build_page(content="<base href='#'>"), "base"),
        (build_page(FRAMING, build_frame(sandbox="")), "a frame without sandbox"),
        (build_page(FRAMING, build_frame(sandbox="sandbox=allow-scripts")), "without sandbox"),
        (build_page(FRAMING, build_frame(INJECTED)), "<script> without a hash"),
        (build_page(ASSETS, build_frame()), "<style> without a hash"),
        (build_page().replace("<meta charset", "<style></style><meta charset"), "before the pol"),
        (build_page().replace("script-src 'sha", "script-src 'unsafe-inline' 'sha"), "unsafe"),
        (build_page().replace("img-src data:", "img-src *"), "img-src"),
        (build_page().replace("script-src", "script-src-elem"), "script-src"),
        (build_page().replace("img-src", "frame-ancestors 'none'; img-src"), "frame-ancestors"),
        (build_page().replace("http-equiv", "name"), "before the policy"),
        ("<head></head><body></body>", "no policy in the head"),
        ("<p>text</p>", "no policy"),
    ],
)
def test_a_page_that_breaks_its_policy_is_refused(page, fault):
    with pytest.raises(AssertionError, match=re.escape(fault)):
        PolicyCheck(page)


def test_directives_are_added_and_replaced():
    assert PageAssets("").policy() == (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        "script-src 'none'; style-src 'none'"
    )
    policy = PageAssets("").policy({"img-src": "blob:", "connect-src": "'self'"})
    assert policy.startswith("default-src 'none'; img-src blob:; base-uri")
    assert policy.endswith("; connect-src 'self'")


def test_each_style_sheet_has_one_hash():
    policy = PageAssets("a", "b", ("a", "c")).policy()
    (styles,) = re.findall("style-src ([^;]+)", policy)
    assert len(styles.split()) == 2


def test_assets_are_read_with_plain_line_ends():
    style = read_asset("mmie.app", "static/page.css")
    assert style.startswith(":root {\n")
    assert "\r" not in style


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.html")), ids=lambda file: file.name)
def test_templates_hold_no_inline_style_and_no_script(file):
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"<style|<script|\bstyle=|\son\w+=", text)
    if "<head>" in text and file.parent.name != "static":
        before = text.partition("<head>\n")[2].partition("{{ assets.head }}\n")[0]
        assert re.fullmatch(r"(<meta [^<>]*>\n)+", before)
    assert text.count("<iframe ") == text.count('<iframe sandbox="" ')


def test_hashes_are_computed_in_one_place():
    files = [file for file in PACKAGE.rglob("*.py") if "sha256-" in file.read_text()]
    assert [file.name for file in files] == ["pages.py"]


@pytest.mark.slow
@needs_chromium
def test_a_browser_runs_no_script_without_a_hash(tmp_path):
    handler = "<svg onload=\"document.documentElement.lang = 'injected'\"></svg>"
    for attack in (INJECTED, handler):
        dom, _ = browse(build_page(content=attack).replace("http-equiv", "name"), tmp_path)
        assert '<html lang="injected">' in dom
        dom, console = browse(build_page(content=attack), tmp_path)
        assert "<html><head>" in dom
        assert "<title>own</title>" in dom
        assert "violates the following Content Security Policy directive" in console


@pytest.mark.slow
@needs_chromium
def test_a_browser_applies_the_style_of_a_frame_and_runs_nothing_in_it(tmp_path):
    dom, console = browse(build_page(FRAMING, build_frame()), tmp_path)
    assert "<title>own</title>" in dom
    assert console == ""
    _, console = browse(build_page(ASSETS, build_frame()), tmp_path)
    assert "Applying inline style violates" in console
    _, console = browse(build_page(FRAMING, build_frame(INJECTED)), tmp_path)
    assert "Blocked script execution in 'about:srcdoc'" in console
