"""Tutorials: the notebooks with their outputs as pages."""

from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter


def render_pages(folder: Path) -> dict[str, str | bytes]:
    """Write a page for each notebook, and the files of its pictures.

    Args:
        folder: Folder of the notebooks.

    Returns:
        Content by path in the site.
    """
    pages: dict[str, str | bytes] = {}
    for file in sorted(folder.glob("*.ipynb")):
        notebook = nbformat.read(file, as_version=4)
        text, resources = MarkdownExporter().from_notebook_node(
            notebook, resources={"output_files_dir": file.stem, "unique_key": file.stem}
        )
        pages[f"tutorials/{file.stem}.md"] = text.replace(".ipynb)", ".md)")
        for name, content in resources["outputs"].items():
            pages[f"tutorials/{name}"] = content
    return pages
