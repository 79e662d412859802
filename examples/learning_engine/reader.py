"""Reads source files strictly, falls back when that fails, and keeps what it has read in a bounded cache."""

from __future__ import annotations

import doctest
import io
import tokenize
from threading import Lock
from typing import TYPE_CHECKING, Final

from examples.learning_engine.corpus import code_examples, definitions, parse
from otel_metrics import get_advanced_metrics

if TYPE_CHECKING:
    from pathlib import Path

    from examples.learning_engine.corpus import Document, Source

FEATURE: Final = "source-reader"
_AT_ONCE: Final = 1.0
_SECOND_WAY: Final = 0.75
"""How easy it was to read something; what nobody could read is not rated."""


class DocumentCache:
    """Keeps the documents of the first ``capacity`` files."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._lock = Lock()
        self._kept: dict[Path, list[Document]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, path: Path) -> list[Document] | None:
        """Return the documents of ``path`` if they are kept."""
        return self._kept.get(path)

    def put(self, path: Path, documents: list[Document]) -> None:
        """Keep the documents of ``path`` if there is room."""
        with self._lock:
            if len(self._kept) < self.capacity:
                self._kept[path] = documents

    def forget(self, generation: int) -> None:
        """Forget a tenth of the files, another one in every generation, as if they had changed."""
        with self._lock:
            for path in list(self._kept)[generation % 10 :: 10]:
                del self._kept[path]


class SourceReader:
    """From files and help topics to documents."""

    def __init__(self, cache: DocumentCache) -> None:
        self._cache = cache
        self._metrics = get_advanced_metrics()
        self.missing: str | None = None
        """The package whose folder is not where it should be."""

    def read(self, source: Source) -> list[Document]:
        """Return the documents in ``source``; what cannot be read is recorded as an error and yields none."""
        path = source.path
        if source.package == self.missing:
            path = path.parent / "missing" / path.name
        elif (kept := self._cache.get(path)) is not None:
            with self._metrics.track(FEATURE, "read_from_cache"):
                return kept
        documents: list[Document] = []
        try:
            with self._metrics.track(FEATURE, "read_source", user_context=source.package) as use:
                raw = path.read_bytes()
                documents = definitions(source, self._decoded(source, raw))
        except (OSError, SyntaxError, UnicodeError) as error:
            self._metrics.record_exception(error, FEATURE, "error", impact_level="medium")
            return documents
        self._metrics.record_performance_metric(FEATURE, "disk_io", "file_size_kib", len(raw) / 1024, unit="KiB")
        seconds = use.duration_ms / 1000
        self._metrics.record_performance_metric(FEATURE, "throughput", "files_read", 1 / seconds, unit="per_second")
        self._cache.put(path, documents)
        return documents

    def check_examples(self, topic: Document) -> tuple[int, int]:
        """Parse the code examples of a help topic and return (how many parse, how many there are).

        The strict way takes an example as a program. What fails is read as an interactive session instead, if it is one.
        """
        good = total = 0
        for example in code_examples(topic):
            total += 1
            score: float | None = _AT_ONCE
            # The check succeeds, whatever it finds.
            with self._metrics.track(FEATURE, "check_example"):
                try:
                    parse(example)
                except SyntaxError as error:
                    is_one, parses = _as_session(example)
                    score = _SECOND_WAY if parses else None
                    self._handled(error, attempted=is_one, recovered=parses)
            if score is not None:
                good += 1
                what = f"An example of the topic {topic.name!r}"
                self._rate(score, what, f"{topic.name}-{total}")
        return good, total

    def _decoded(self, source: Source, raw: bytes) -> str:
        name = source.path.name
        try:
            text = raw.decode("ascii")
        except UnicodeDecodeError as error:
            # The strict way is fast and fails on a few real files; those say their encoding, or it is UTF-8.
            encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
            text = raw.decode(encoding)
            self._handled(error, attempted=True, recovered=True)
            self._rate(_SECOND_WAY, name, name)
        else:
            self._rate(_AT_ONCE, name, name)
        return text

    def _handled(self, error: Exception, *, attempted: bool, recovered: bool) -> None:
        self._metrics.record_exception(
            error, FEATURE, "info", recovery_attempted=attempted, recovery_successful=recovered, impact_level="low"
        )

    def _rate(self, score: float, what: str, interaction: str) -> None:
        self._metrics.record_satisfaction(
            feature=FEATURE,
            satisfaction_type="ease_of_use",
            score=score,
            feedback=f"{what} was read at once" if score == _AT_ONCE else f"{what} took a second way of reading",
            interaction_id=interaction,
            scale="0-1",
        )


def _as_session(example: str) -> tuple[bool, bool]:
    """Say whether an example is an interactive session, and whether it parses as one."""
    try:
        statements = doctest.DocTestParser().get_examples(example)
        parse("".join(statement.source for statement in statements))
    except (SyntaxError, ValueError):
        return True, False
    return bool(statements), bool(statements)
