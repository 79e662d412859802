"""Measures a step of the engine, replaces it by a better one, measures again, and keeps the better of the two."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final, TypeVar

from examples.learning_engine.results import Impact
from examples.learning_engine.text import words_by_character, words_by_expression
from otel_metrics import get_advanced_metrics, get_metrics_collector

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from examples.learning_engine.classifier import NaiveBayes
    from examples.learning_engine.corpus import Document
    from examples.learning_engine.patterns import PatternRecognizer

FEATURE: Final = "process-optimization"
_REPEATS: Final = 3
_SMOOTHINGS: Final = (1.0, 0.3, 0.1, 0.03, 0.01)
_TEMPERATURES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

T = TypeVar("T")


class Optimizer:
    """Improves a classifier and a recognizer with the help of documents that neither has learnt from."""

    def __init__(self, model: NaiveBayes, recognizer: PatternRecognizer, sample: Sequence[Document]) -> None:
        self._model = model
        self._recognizer = recognizer
        self._sample = sample
        self._metrics = get_advanced_metrics()
        self._collector = get_metrics_collector()

    def run(self) -> dict[str, Impact]:
        """Try every optimization and return what each of them did."""
        steps: tuple[tuple[str, str, Callable[[], Impact]], ...] = (
            ("regular_expression", "task_completion_time", self._tokenizer),
            ("logarithm_table", "task_completion_time", self._table),
            ("pattern_index", "task_completion_time", self._index),
            ("interned_words", "resource_usage", self._interned),
            ("smoothing", "accuracy", self._smoothing),
            ("calibration", "user_experience", self._calibration),
        )
        impacts = {}
        for name, category, step in steps:
            with self._metrics.track(FEATURE, name):
                impact = impacts[name] = step()
            self._metrics.record_optimization_impact(
                feature=FEATURE,
                optimization_id=name,
                impact_category=category,
                before_value=impact.before,
                after_value=impact.after,
                user_impact_score=impact.for_users,
            )
            self._collector.record_optimization_metric(FEATURE, f"{name}_saved", impact.before - impact.after)
        return impacts

    def _tokenizer(self) -> Impact:
        texts = [document.text for document in self._sample]
        before, after = _times(words_by_character, texts), _times(words_by_expression, texts)
        if sum(after) < sum(before):
            self._model.tokenize = words_by_expression
        return _faster(before, after)

    def _table(self) -> Impact:
        texts = [document.text for document in self._sample[:50]]
        before = _times(self._model.rank, texts)
        self._model.tabulate()
        return _faster(before, _times(self._model.rank, texts))

    def _index(self) -> Impact:
        texts = [self._model.tokenize(document.text) for document in self._sample[:5]]
        before = _times(self._recognizer.votes, texts)
        self._recognizer.indexed = True
        return _faster(before, _times(self._recognizer.votes, texts))

    def _interned(self) -> Impact:
        words = [word for document in self._sample for word in self._model.tokenize(document.text)]
        before = _distinct_bytes(words)
        interned = [sys.intern(word) for word in words]
        after = _distinct_bytes(interned)
        return Impact(before, after, max(0.0, 1 - after / before))

    def _smoothing(self) -> Impact:
        before = self._ranks()
        best = before
        kept = self._model.smoothing
        for smoothing in _SMOOTHINGS:
            self._model.smoothing = smoothing
            self._model.tabulate()
            ranks = self._ranks()
            if ranks.count(1) > best.count(1):
                best, kept = ranks, smoothing
        self._model.smoothing = kept
        self._model.tabulate()
        not_worse = sum(new <= old for new, old in zip(best, before, strict=True))
        return Impact(before.count(1) / len(before), best.count(1) / len(best), not_worse / len(best))

    def _calibration(self) -> Impact:
        accuracy = self._ranks().count(1) / len(self._sample)
        gaps = {}
        for temperature in _TEMPERATURES:
            self._model.temperature = temperature
            confidences = [self._model.rank(document.text).confidence for document in self._sample]
            gaps[temperature] = abs(sum(confidences) / len(confidences) - accuracy)
        self._model.temperature = min(gaps, key=lambda temperature: gaps[temperature])
        # How far confidence can be relied on: users see more of it when the gap shrinks.
        before, after = 1 - gaps[1.0], 1 - gaps[self._model.temperature]
        return Impact(before, after, after)

    def _ranks(self) -> list[int]:
        return [self._model.rank(document.text).rank_of(document.label) for document in self._sample]


def _times(step: Callable[[T], object], items: Sequence[T]) -> list[float]:
    """Return how many milliseconds ``step`` takes for each of ``items``, the best of a few attempts."""
    best = [float("inf")] * len(items)
    for _ in range(_REPEATS):
        for position, item in enumerate(items):
            started = time.perf_counter()
            step(item)
            best[position] = min(best[position], (time.perf_counter() - started) * 1000)
    return best


def _faster(before: Sequence[float], after: Sequence[float]) -> Impact:
    faster = sum(new < old for new, old in zip(after, before, strict=True))
    return Impact(sum(before), sum(after), faster / len(before))


def _distinct_bytes(words: Sequence[str]) -> float:
    return float(sum({id(word): sys.getsizeof(word) for word in words}.values()))
