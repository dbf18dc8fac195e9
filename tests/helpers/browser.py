"""Pages in a headless Chromium, which cannot reach any server."""

import shutil
import subprocess
from pathlib import Path

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr",
)


def browse(
    page: str | Path, folder: Path, *options: str, action: str = "--dump-dom"
) -> tuple[str, str]:
    """Open a page.

    Args:
        page: The page, or its file.
        folder: Folder for the browser's profile and for a page without a file.
        *options: Further options of the browser.
        action: What the browser does with the page: it prints the document after its scripts have
            run, or ``--screenshot=FILE``.

    Returns:
        Standard output, and the lines of the console.
    """
    if isinstance(page, str):
        file = folder / "page.html"
        file.write_text(page, encoding="utf-8")
        page = file
    profile = f"--user-data-dir={folder / 'profile'}"
    completed = subprocess.run(
        [CHROMIUM, *OPTIONS, profile, *options, action, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    lines = [line for line in completed.stderr.splitlines() if ":CONSOLE" in line]
    return completed.stdout, "\n".join(lines)
