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


class DocumentCache:
    """Keeps the documents of the first ``capacity`` files. Files come in the same order every time, so nothing is evicted."""

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


class SourceReader:
    """From files and help topics to documents."""

    def __init__(self, cache: DocumentCache) -> None:
        self._cache = cache
        self._metrics = get_advanced_metrics()

    def read(self, source: Source) -> list[Document]:
        """Return the documents in ``source``; what cannot be read is recorded as an error and yields none."""
        if (kept := self._cache.get(source.path)) is not None:
            with self._metrics.track(FEATURE, "read_from_cache"):
                return kept
        documents: list[Document] = []
        try:
            with self._metrics.track(FEATURE, "read_source", user_context=source.package) as use:
                raw = source.path.read_bytes()
                documents = definitions(source, self._decoded(source, raw))
        except (OSError, SyntaxError, UnicodeError) as error:
            self._record(error, severity="error", impact="medium", recovered=None)
            return documents
        self._metrics.record_performance_metric(FEATURE, "disk_io", "file_size_kib", len(raw) / 1024, unit="KiB")
        seconds = use.duration_ms / 1000
        self._metrics.record_performance_metric(FEATURE, "throughput", "files_read", 1 / seconds, unit="per_second")
        self._cache.put(source.path, documents)
        return documents

    def check_examples(self, topic: Document) -> tuple[int, int]:
        """Parse the code examples of a help topic and return (how many parse, how many there are).

        The strict way takes an example as a program. What fails is read as an interactive session instead, if it is one.
        """
        good = total = 0
        for example in code_examples(topic):
            total += 1
            try:
                with self._metrics.track(FEATURE, "check_example"):
                    parse(example)
                attempts = 1
            except SyntaxError as error:
                recovered = _parses_as_session(example)
                self._record(error, severity="warning" if recovered else "error", impact="low", recovered=recovered)
                attempts = 2 if recovered else 0
            good += attempts > 0
            self._metrics.record_satisfaction(
                feature=FEATURE,
                satisfaction_type="ease_of_use",
                score=1 / attempts if attempts else 0.0,
                feedback=f"An example of the topic {topic.name!r} "
                + (
                    "took a second way of reading"
                    if attempts == 2
                    else "was read at once"
                    if attempts
                    else "cannot be read"
                ),
                interaction_id=f"{topic.name}-{total}",
                scale="0-1",
            )
        return good, total

    def _decoded(self, source: Source, raw: bytes) -> str:
        try:
            return raw.decode("ascii")
        except UnicodeDecodeError as error:
            # The strict way is fast and fails on a few real files; those say their encoding, or it is UTF-8.
            encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
            text = raw.decode(encoding)
            self._record(error, severity="info", impact="low", recovered=True)
            self._metrics.record_satisfaction(
                feature=FEATURE,
                satisfaction_type="ease_of_use",
                score=0.5,
                feedback=f"{source.path.name} had to be decoded twice",
                interaction_id=source.path.name,
                scale="0-1",
            )
            return text

    def _record(self, error: Exception, *, severity: str, impact: str, recovered: bool | None) -> None:
        self._metrics.record_exception(
            error,
            FEATURE,
            severity,
            recovery_attempted=recovered is not None,
            recovery_successful=bool(recovered),
            impact_level=impact,
        )


def _parses_as_session(example: str) -> bool:
    try:
        statements = doctest.DocTestParser().get_examples(example)
        parse("".join(statement.source for statement in statements))
    except (SyntaxError, ValueError):
        return False
    return bool(statements)
