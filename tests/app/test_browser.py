"""The page in a browser."""

import json
import shutil

import pytest
from helpers.serving import picture_bytes, serving

from mmie.app.limits import Limits
from mmie.data import JsonlCorpus
from mmie.types import Entity, Relation

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH"),
]
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
    """Open the page; errors in its script and requests to other servers fail the test."""
    page = browser.new_page()
    page.set_default_timeout(10_000)
    faults = []

    def check_request(request):
        if not request.url.startswith((url, "data:", "blob:")):
            faults.append(request.url)

    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", check_request)
    page.goto(url)
    page.get_by_text("HVPNet finds").wait_for()
    yield page
    page.close()
    assert faults == []


def upload(page, data):
    """Choose a picture file with this content."""
    file = {"name": "a.png", "mimeType": "image/png", "buffer": data}
    page.locator("#file").set_input_files(file)


def wait_for_status(page):
    """Wait for the result and return the line above it."""
    page.get_by_role("status").filter(has_text="Found").wait_for()
    return page.get_by_role("status").inner_text()


def test_text_and_picture(page):
    page.keyboard.type(TEXT)  # the cursor stands in the text from the start
    upload(page, picture_bytes())
    page.get_by_role("img", name="The chosen picture, a.png").wait_for()
    page.keyboard.press("Control+Enter")
    assert wait_for_status(page).startswith("Found 4 entities and ")
    marks = page.locator("#found mark").all_inner_texts()
    assert [mark.split()[:2] for mark in marks] == [[word, "PER"] for word in TEXT.split()]
    without_labels = "p => p.textContent.replace(/\\sPER[ >0-9.]*%/g, '')"
    assert page.locator("#found").evaluate(without_labels) == TEXT
    assert "/per/per/peer" in page.locator("#triples li").first.inner_text()
    cards = page.locator("#cards figure")
    captions = cards.locator("figcaption").all_inner_texts()
    assert captions == ["picture", "crop 1", "crop 2", "crop 3"]
    assert cards.first.locator("img").evaluate("image => image.naturalWidth") == 96
    assert cards.first.locator(".shaded").inner_text().split() == TEXT.split()


def test_effects_on_a_relation_can_be_selected(page):
    page.get_by_label("Text", exact=True).fill("Ann Bob")
    upload(page, picture_bytes())
    page.get_by_role("button", name="Extract").click()
    wait_for_status(page)
    before = page.locator("#cards dd").all_inner_texts()
    page.get_by_label("Effect on").select_option(index=1)
    assert page.locator("#cards dd").all_inner_texts() != before


def test_example_without_a_picture(page):
    page.get_by_role("button", name="Jordan lands").click()
    assert wait_for_status(page).startswith("Found 7 entities")
    assert not page.get_by_role("heading", name="Views").is_visible()


def test_picture_can_be_dropped_and_removed(page):
    drop = """bytes => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], "b.png", {type: "image/png"}));
        const event = new DragEvent("drop", {dataTransfer: transfer, bubbles: true});
        document.getElementById("drop").dispatchEvent(event);
    }"""
    page.evaluate(drop, list(picture_bytes()))
    page.get_by_role("img", name="The chosen picture, b.png").wait_for()
    page.get_by_role("button", name="Remove the picture").click()
    assert not page.locator("#preview").is_visible()
    page.get_by_label("Text", exact=True).fill("Ann")
    page.keyboard.press("Control+Enter")
    wait_for_status(page)
    assert not page.get_by_role("heading", name="Views").is_visible()


def test_file_that_is_not_a_picture_is_a_problem(page):
    page.get_by_label("Text", exact=True).fill("Ann")
    upload(page, b"hello")
    page.keyboard.press("Control+Enter")
    wait_for_status(page)
    assert "not a picture" in page.get_by_role("list", name="Problems").inner_text()


def test_refused_request_shows_the_reason(page):
    page.get_by_label("Text", exact=True).fill("Ann")
    upload(page, bytes(100_001))
    page.keyboard.press("Control+Enter")
    page.get_by_role("alert").filter(has_text="the request is larger than 100000 bytes").wait_for()


def test_text_is_escaped(page):
    page.get_by_label("Text", exact=True).fill("<img src=x onerror=alert(1)>")
    page.keyboard.press("Control+Enter")
    wait_for_status(page)
    assert page.locator("#found img").count() == 0


def test_controls_are_reached_by_keyboard_and_have_names(page):
    names = []
    page.get_by_label("Text", exact=True).focus()
    for _ in range(6):
        page.keyboard.press("Tab")
        element = "document.activeElement"
        names.append(page.evaluate(f"{element}.id || {element}.textContent"))
    assert names[3:] == ["file", "explain", "send"]
    nameless = """[...document.querySelectorAll("button, input, textarea, select")]
        .filter(node => node.labels?.length === 0 && !node.textContent.trim()).length"""
    assert page.evaluate(nameless) == 0


@pytest.mark.parametrize("width", [320, 390, 900, 1600])
def test_page_fits_any_width(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.get_by_label("Text", exact=True).fill("averyveryverylongword" * 8)
    upload(page, picture_bytes())
    page.keyboard.press("Control+Enter")
    wait_for_status(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_link_to_the_description_of_the_api(page, url):
    page.get_by_role("link", name="API").click()
    page.get_by_role("heading", name="POST /api/extract").wait_for()


def correct(page, text):
    """Extract from a text with a picture, and begin to correct what was found."""
    page.get_by_label("Text", exact=True).fill(text)
    upload(page, picture_bytes())
    page.keyboard.press("Control+Enter")
    wait_for_status(page)
    page.get_by_role("button", name="Correct", exact=True).click()


def downloaded_line(page):
    """Download the corrections and return their last line."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Download corrected.jsonl").click()
    assert download.value.suggested_filename == "corrected.jsonl"
    return download.value.path().read_text(encoding="utf-8").splitlines()[-1]


def test_corrections_are_a_post_of_a_corpus(page, tmp_path):
    correct(page, TEXT)
    page.get_by_role("button", name="😂 PER").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_role("button", name="Bob PER").press("Enter")
    page.get_by_label("Type").select_option("LOC")
    page.get_by_role("button", name="met PER").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_role("button", name="😂", exact=True).click()
    page.get_by_role("button", name="met", exact=True).click()
    page.get_by_label("Type").select_option("ORG")
    page.get_by_role("button", name="Add", exact=True).click()
    while page.get_by_role("button", name="Remove Ann").count():
        page.get_by_role("button", name="Remove Ann").first.click()
    while page.get_by_role("button", name="Remove Bob").count():
        page.get_by_role("button", name="Remove Bob").first.click()
    page.get_by_label("Head").select_option("Ann PER")
    page.get_by_label("Label of the new relation").select_option("/per/per/peer")
    page.get_by_label("Tail").select_option("Bob LOC")
    page.get_by_role("button", name="Add relation").click()
    (tmp_path / "train.jsonl").write_text(downloaded_line(page) + "\n", encoding="utf-8")
    (post,) = JsonlCorpus(tmp_path, max_missing=1.0).posts("train")
    ann, bob = Entity(0, 1, "PER"), Entity(3, 4, "LOC")
    assert post.text == TEXT
    assert post.image == tmp_path / "a.png"
    assert post.entities == (ann, Entity(1, 3, "ORG"), bob)
    assert post.relations == (Relation(ann, bob, "/per/per/peer"),)


def test_corrections_of_several_posts_are_saved_together_or_discarded(page):
    correct(page, "Ann")
    first = downloaded_line(page)
    correct(page, "Bob")
    page.get_by_role("button", name="Bob PER").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download corrected.jsonl").click()
    lines = download.value.path().read_text(encoding="utf-8").splitlines()
    assert lines[0] == first
    assert json.loads(lines[1])["entities"] == []
    assert "2 posts in corrected.jsonl" in page.locator("#saved").inner_text()
    page.get_by_role("button", name="Discard corrections").click()
    assert page.locator("#found mark").count() == 1
    assert not page.locator("#save").is_visible()


@pytest.mark.parametrize("width", [320, 1600])
def test_corrections_fit_any_width(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    correct(page, "averyveryverylongword" * 8 + " Ann")
    page.get_by_role("button", name="Ann PER").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
