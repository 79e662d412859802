"""The text: functions and classes of the standard library, and the help topics of :mod:`pydoc`."""

from __future__ import annotations

import ast
import re
import sysconfig
import textwrap
import zlib
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDS: Final = 5
"""One document in five is held out for testing; each generation holds out another fifth."""

_NOT_A_SUBJECT: Final = frozenset(
    {"test", "tests", "idle_test", "lib2to3", "site-packages", "dist-packages", "pydoc_data"}
)
_CODE: Final = re.compile(r"^\s*(>>>|@\w|(class|def|for|from|import|try|while|with)\b.*[:\w]$)", re.MULTILINE)
_PARSING: Final = Lock()
_MOST_PACKAGES: Final = 24
_SHORTEST: Final = 200
_MOST_PER_FILE: Final = 25


@dataclass(frozen=True, slots=True)
class Source:
    """A file of the standard library and the package that it belongs to."""

    path: Path
    package: str


@dataclass(frozen=True, slots=True)
class Document:
    """One function, class or help topic; ``label`` is what the engine shall find out."""

    name: str
    label: str
    text: str

    def held_out(self, generation: int) -> bool:
        """Say whether this document is for testing, not for learning, in ``generation``."""
        return zlib.crc32(self.name.encode()) % FOLDS == generation % FOLDS


def sources(packages: frozenset[str] = frozenset()) -> list[Source]:
    """Return the files of the standard library's largest packages, packages taking turns.

    Taking turns lets the engine meet every package early. ``packages`` keeps only those named.
    """
    root = Path(sysconfig.get_path("stdlib"))
    found: dict[str, list[Path]] = {}
    for folder in sorted(path.parent for path in root.glob("*/__init__.py")):
        if folder.name in _NOT_A_SUBJECT or (packages and folder.name not in packages):
            continue
        found[folder.name] = [
            path for path in sorted(folder.rglob("*.py")) if not _NOT_A_SUBJECT & set(path.parts[len(root.parts) :])
        ]
    largest = sorted(found, key=lambda package: (-len(found[package]), package))[:_MOST_PACKAGES]
    turns = [(turn, package, path) for package in largest for turn, path in enumerate(found[package])]
    return [Source(path, package) for _, package, path in sorted(turns)]


def parse(text: str, filename: str = "<example>") -> ast.Module:
    """Parse Python source, one thread at a time: before 3.13, threads that meet in there fail (gh-106905).

    Raises:
        SyntaxError: ``text`` is not Python.
        ValueError: ``text`` contains a NUL.
    """
    with _PARSING:
        return ast.parse(text, filename)


def definitions(source: Source, text: str) -> list[Document]:
    """Return the larger functions and classes defined in ``text``.

    Raises:
        SyntaxError: ``text`` is not Python.
    """
    lines = text.splitlines()
    found = []
    for node in ast.walk(parse(text, str(source.path))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            body = "\n".join(lines[node.lineno - 1 : node.end_lineno])
            if len(body) >= _SHORTEST:
                found.append(
                    Document(f"{source.package}/{source.path.name}:{node.name}:{node.lineno}", source.package, body)
                )
    return found[:_MOST_PER_FILE]


def topic_texts() -> list[Document]:
    """Return the help topics of :mod:`pydoc`, in their order."""
    return [Document(name, "topic", text) for name, text in sorted(topics.items())]


def code_examples(topic: Document) -> Iterator[str]:
    """Yield what looks like Python code in a help topic: indented blocks with a prompt or the head of a statement."""
    block: list[str] = []
    for line in [*topic.text.splitlines(), "end"]:
        if line.startswith("   ") or (block and not line.strip()):
            block.append(line)
        elif block:
            example = textwrap.dedent("\n".join(block)).strip("\n")
            if _CODE.search(example):
                yield example
            block = []
