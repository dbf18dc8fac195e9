"""Pages of the methods: equations beside the code that computes them, departures, settings, scores.

A page under ``docs/methods/`` has a section for each row of the table of its method's module, with
the equations in LaTeX. The code beside them, the shapes and all other sections come from the
package.
"""

import ast
import re
from typing import NamedTuple

from configuration import class_rows
from python_pages import is_documented
from source import PACKAGE, find_source
from tables import convert_tables, markdown_table, read_table

import mmie.methods
from mmie.methods.papers import CORPORA, Paper
from mmie.reports.method_tables import methods_markdown
from mmie.reports.methods import MethodInfo, package_methods

TABLE_MARK = "<!-- table of methods -->"
_CODE_MARK = re.compile(r"^<!-- code: (.*?) -->\n?", re.MULTILINE)
_SECTION = re.compile(r"^### (.*)\n", re.MULTILINE)
_RULES = re.compile(r"^=+(?: +=+)+\n(?:.*\n)+?=+(?: +=+)+\n(?:.*\n)*?=+(?: +=+)+$", re.MULTILINE)


class EquationRow(NamedTuple):
    """Row of the table of a method's module.

    Attributes:
        name: What is computed, with the numbers of the paper's equations.
        code: Names of what computes it.
        shape: Shape of the result.
    """

    name: str
    code: tuple[str, ...]
    shape: str


def fill_overview(markdown: str) -> str:
    """Put the table of all methods into the overview."""
    table = methods_markdown(package_methods())
    for method in package_methods():
        module = method.module.rpartition(".")[2]
        table = table.replace(f"| `{method.path}` |", f"| [`{method.name}`]({module}.md) |")
    return markdown.replace(TABLE_MARK, table)


def fill_method(markdown: str, module: str) -> str:
    """Put code beside the equations of a method, and add its other sections.

    Args:
        markdown: The page.
        module: Name of the method's module.

    Raises:
        ValueError: The sections of the page are not the rows of the table.
    """
    rows = {row.name: row for row in equation_rows(module)}
    before, *sections = _SECTION.split(markdown)
    names, bodies = sections[::2], sections[1::2]
    if set(names) != set(rows):
        raise ValueError(
            f"docs/methods/{module}.md has the sections {names}, the table of mmie/methods/"
            f"{module}.py the rows {list(rows)}"
        )
    filled = [before.replace("<!-- summary -->", _summary(module))]
    for name, body in zip(names, bodies, strict=True):
        filled.append(_equation_section(rows[name], body))
    filled += _closing_sections(_method_of(module))
    return "\n\n".join(filled) + "\n"


def equation_rows(module: str) -> list[EquationRow]:
    """Read the table of equations of a method's module; empty if it has none."""
    match = _RULES.search(_module_docstring(module))
    if match is None:
        return []
    (_, *titles), *cells = read_table(match[0].splitlines())
    if titles[:1] != ["here"]:
        return []
    rows = []
    for name, code, shape in cells:
        rows.append(EquationRow(name, tuple(re.findall(r"`([\w.]+)`", code)), shape))
    return rows


def _summary(module: str) -> str:
    """Return the citation and the architecture of a method, without the table of equations."""
    head = _module_docstring(module).partition("**Departures.**")[0]
    text = _RULES.sub("", head) if equation_rows(module) else convert_tables(head)
    return re.sub(r"(https://\S+[^\s.,)])", r"<\1>", text.strip())


def _equation_section(row: EquationRow, body: str) -> str:
    """Write the section of one row: equations on the left, code on the right."""
    marked = _CODE_MARK.search(body)
    names = tuple(marked[1].split()) if marked else row.code
    blocks = []
    for name in names:
        source = find_source(name)
        title = f'title="{source.file}, line {source.line}"'
        link = f"\n\n[`{name}`][{source.path}]" if is_documented(source.path) else ""
        blocks.append(f"```python {title}\n{source.code}\n```{link}")
    shape = f"Shape: `{row.shape}`" if row.shape else ""
    return "\n\n".join(
        [
            f"### {row.name}",
            '<div class="code-beside" markdown>',
            "<div markdown>",
            _CODE_MARK.sub("", body).strip(),
            shape,
            "</div>",
            "<div markdown>",
            *blocks,
            "</div>",
            "</div>",
        ]
    )


def _closing_sections(method: MethodInfo) -> list[str]:
    """Write the departures, the settings and the published scores of a method."""
    parts = [
        "## Departures from the paper",
        method.departures,
        "## Settings",
        f"`model.class_path: {method.path}`. {method.summary}",
    ]
    method_class = getattr(mmie.methods, method.name)
    rows = class_rows(method_class) if "__init__" in vars(method_class) else []
    if rows:
        parts.append(markdown_table(["argument", "type", "default", "meaning"], rows))
    parents = [f"[{name}](../reference/configuration.md#{name.lower()})" for name in method.parents]
    parts.append(f"It takes the arguments of {' and '.join(parents)} as well.")
    if method.paper is not None:
        parts += ["## Published scores", *_published(method.paper)]
    return parts


def _published(paper: Paper) -> list[str]:
    """Write the tables of a paper's scores."""
    rows = []
    for result in paper.published:
        scores = result.scores
        cells = [_score(scores.precision), _score(scores.recall), _score(scores.f1)]
        by_type = ", ".join(f"{name} {_score(value)}" for name, value in result.by_type.items())
        rows.append([result.corpus, result.setting, *cells, by_type])
    parts = [f"In percent, of {paper.title} ({paper.authors}, {paper.venue} {paper.year})."]
    if paper.remark:
        parts.append(paper.remark)
    parts.append(markdown_table(["corpus", "setting", "P", "R", "F1", "F1 by type"], rows))
    if paper.ablations:
        parts += ["### Ablations, published F1", _ablations(paper)]
    return parts


def _ablations(paper: Paper) -> str:
    """Write the table of a paper's ablations, each with the overlay that fits it."""
    rows = []
    for ablation in paper.ablations:
        cells = [
            f"{ablation.name} ({ablation.table})",
            f"`configs/ablations/{ablation.overlay}.yaml`",
        ]
        for corpus in CORPORA:
            scores = ablation.scores.get(corpus)
            cells.append(_score(scores.f1 if scores else None))
        rows.append(cells)
    return markdown_table(["row", "overlay", *CORPORA], rows)


def _score(score: float | None) -> str:
    """Format a published score, empty if there is none."""
    return "" if score is None else f"{score:.2f}"


def _method_of(module: str) -> MethodInfo:
    """Return the method that a module of `mmie.methods` defines.

    Raises:
        ValueError: The module defines none.
    """
    for method in package_methods():
        if method.module == f"mmie.methods.{module}":
            return method
    raise ValueError(f"mmie.methods.{module} defines no method")


def _module_docstring(module: str) -> str:
    """Return the docstring of a method's module."""
    source = (PACKAGE / "methods" / f"{module}.py").read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(source)) or ""
