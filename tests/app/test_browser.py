"""The page as a person uses it."""

import shutil

import pytest
from helpers.serving import picture_bytes, serving

from mmie.app.limits import Limits

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")
TEXT = "Ann 😂 met Bob"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def url(extractor):
    with serving(extractor, Limits(max_body=100_000)) as (host, port):
        yield f"http://{host}:{port}/"


@pytest.fixture
def page(browser, url):
    """The page, opened; whatever it complains of, or asks of another server, fails the test."""
    page = browser.new_page()
    page.set_default_timeout(10_000)
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "request",
        lambda sent: (
            faults.append(sent.url) if not sent.url.startswith((url, "data:", "blob:")) else 0
        ),
    )
    page.goto(url)
    page.get_by_text("HVPNet finds").wait_for()
    yield page
    page.close()
    assert faults == []


def status(page):
    """Wait for the answer, and give what is said of it."""
    page.get_by_role("status").filter(has_text="Found").wait_for()
    return page.get_by_role("status").inner_text()


def test_a_text_and_a_picture_are_answered(page):
    page.keyboard.type(TEXT)  # the cursor stands in the text from the start
    page.locator("#file").set_input_files(
        {"name": "a.png", "mimeType": "image/png", "buffer": picture_bytes()}
    )
    page.get_by_role("img", name="The chosen picture, a.png").wait_for()
    page.keyboard.press("Control+Enter")
    assert status(page).startswith("Found 4 entities and ")
    marks = page.locator("#found mark").all_inner_texts()
    assert [mark.split()[:2] for mark in marks] == [[word, "PER"] for word in TEXT.split()]
    assert (
        page.locator("#found").evaluate("p => p.textContent.replace(/\\sPER[ >0-9.]*%/g, '')")
        == TEXT
    )
    assert "/per/per/peer" in page.locator("#triples li").first.inner_text()
    cards = page.locator("#cards figure")
    assert cards.locator("figcaption").all_inner_texts() == [
        "picture",
        "crop 1",
        "crop 2",
        "crop 3",
    ]
    assert cards.first.locator("img").evaluate("image => image.naturalWidth") == 96
    assert cards.first.locator(".shaded").inner_text().split() == TEXT.split()


def test_the_part_of_the_views_can_be_seen_for_a_relation(page):
    page.get_by_label("Text").fill("Ann Bob")
    page.locator("#file").set_input_files(
        {"name": "a.png", "mimeType": "image/png", "buffer": picture_bytes()}
    )
    page.get_by_role("button", name="Extract").click()
    status(page)
    before = page.locator("#cards dd").all_inner_texts()
    page.get_by_label("Their part in").select_option(index=1)
    assert page.locator("#cards dd").all_inner_texts() != before


def test_an_example_is_answered_without_a_picture(page):
    page.get_by_role("button", name="Jordan lands").click()
    assert status(page).startswith("Found 7 entities")
    assert not page.get_by_role("heading", name="Views").is_visible()


def test_a_picture_can_be_dropped_and_removed(page):
    drop = """bytes => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], "b.png", {type: "image/png"}));
        document.getElementById("drop").dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true}));
    }"""
    page.evaluate(drop, list(picture_bytes()))
    page.get_by_role("img", name="The chosen picture, b.png").wait_for()
    page.get_by_role("button", name="Remove the picture").click()
    assert not page.locator("#preview").is_visible()
    page.get_by_label("Text").fill("Ann")
    page.keyboard.press("Control+Enter")
    status(page)
    assert not page.get_by_role("heading", name="Views").is_visible()


def test_a_picture_that_is_none_is_said(page):
    page.get_by_label("Text").fill("Ann")
    page.locator("#file").set_input_files(
        {"name": "a.png", "mimeType": "image/png", "buffer": b"hello"}
    )
    page.keyboard.press("Control+Enter")
    status(page)
    assert "not a picture" in page.get_by_role("list", name="Problems").inner_text()


def test_a_refusal_is_said(page):
    page.get_by_label("Text").fill("Ann")
    page.locator("#file").set_input_files(
        {"name": "a.png", "mimeType": "image/png", "buffer": bytes(100_001)}
    )
    page.keyboard.press("Control+Enter")
    page.get_by_role("alert").filter(has_text="the request is larger than 100000 bytes").wait_for()


def test_text_is_shown_as_text(page):
    page.get_by_label("Text").fill("<img src=x onerror=alert(1)>")
    page.keyboard.press("Control+Enter")
    status(page)
    assert page.locator("#found img").count() == 0


def test_all_can_be_reached_by_keyboard_and_has_a_name(page):
    names = []
    page.get_by_label("Text").focus()
    for _ in range(6):
        page.keyboard.press("Tab")
        names.append(
            page.evaluate("document.activeElement.id || document.activeElement.textContent")
        )
    assert names[3:] == ["file", "explain", "send"]
    nameless = """[...document.querySelectorAll("button, input, textarea, select")]
        .filter(one => one.labels?.length === 0 && !one.textContent.trim()).length"""
    assert page.evaluate(nameless) == 0


@pytest.mark.parametrize("width", [320, 390, 900, 1600])
def test_nothing_is_cut_off_at_any_width(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.get_by_label("Text").fill("averyveryverylongword" * 8)
    page.locator("#file").set_input_files(
        {"name": "a.png", "mimeType": "image/png", "buffer": picture_bytes()}
    )
    page.keyboard.press("Control+Enter")
    status(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_description_for_programs_is_a_page(page, url):
    page.get_by_role("link", name="API").click()
    page.get_by_role("heading", name="POST /api/extract").wait_for()
