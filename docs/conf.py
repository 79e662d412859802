"""How the pages become a site: `make docs`. Reasons are in adr/0012-documentation.md."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, ClassVar

from pygments.lexers import PromQLLexer
from pygments.token import Number, Punctuation

import otel_metrics

if TYPE_CHECKING:
    from pathlib import PurePath

    from sphinx.application import Sphinx

project = "otel_metrics"
author = "The otel_metrics maintainers"
version = release = otel_metrics.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# A heading has the anchor that it has where the pages are read without a site.
myst_heading_anchors = 4

autodoc_default_options = {"members": True, "inherited-members": True, "member-order": "bysource"}
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
maximum_signature_line_length = 88
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_show_sourcelink = False

# Files beside this folder, and the pages that show them.
PAGES = {
    "CHANGELOG.md": "site/changelog.md",
    "CONTRIBUTING.md": "site/contributing.md",
    "README.md": "site/calls.md",
    "SECURITY.md": "site/security.md",
    "docs/adr": "adr/index.md",
    "examples/README.md": "site/examples.md",
}


def lead_to_pages(text: str, folder: str, page: str) -> str:
    """Have links of a text that lies in ``folder`` of the repository lead from ``page`` to the pages that show those files."""
    here = posixpath.dirname(f"docs/{page}")

    def led(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[1]))
        target = f"docs/{PAGES[target]}" if target in PAGES else target
        return f"]({posixpath.relpath(target, here)}{link[2] or ''})"

    return re.sub(r"\]\((?!\w+:)([^)#]+)(#[^)]*)?\)", led, text)


def page_is_read(_: Sphinx, page: str, source: list[str]) -> None:
    """Called by Sphinx with the text of a page."""
    source[0] = lead_to_pages(source[0], posixpath.dirname(f"docs/{page}"), page)


def file_is_included(app: Sphinx, file: PurePath, _: str, source: list[str]) -> None:
    """Called by Sphinx with the text of a file that a page shows."""
    folder = posixpath.normpath(posixpath.dirname(f"docs/{file.as_posix()}"))
    source[0] = lead_to_pages(source[0], folder, app.env.docname)  # MyST gives the name without its folder


def docstring_is_read(
    _app: Sphinx, _what: str, _name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Called by Sphinx with a docstring. There, as in Markdown, indented lines after an empty one are code."""
    lines[:] = [re.sub(r"`{0,2}docs/([\w/-]+)\.md`{0,2}", r":doc:`/\1`", line) for line in lines]
    code = [
        i
        for i, line in enumerate(lines)
        if line[:4].isspace() and i > 1 and not lines[i - 1] and lines[i - 2][:1].strip()
    ]
    for i in reversed(code):
        lines[i:i] = [".. code-block:: python", ""]


class PromQL(PromQLLexer):  # type: ignore[misc]
    """PromQL with subqueries and exponents, which Pygments does not know."""

    tokens: ClassVar = {
        **PromQLLexer.tokens,
        "root": [(r"\d+e[-+]?\d+", Number), *PromQLLexer.tokens["root"]],
        "range": [(":", Punctuation), *PromQLLexer.tokens["range"]],
    }


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", page_is_read)
    app.connect("include-read", file_is_included)
    app.connect("autodoc-process-docstring", docstring_is_read, priority=400)  # before napoleon
    app.add_lexer("promql", PromQL)
