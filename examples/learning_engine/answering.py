"""Answering: which package is this code from? With a second opinion where the first one is doubtful."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

from examples.learning_engine.learning import FEATURE, PATTERNS
from examples.learning_engine.patterns import PatternRecognitionError
from examples.learning_engine.results import Answer, Opinion
from otel_metrics import get_advanced_metrics

if TYPE_CHECKING:
    from examples.learning_engine.classifier import NaiveBayes
    from examples.learning_engine.corpus import Document
    from examples.learning_engine.patterns import PatternRecognizer

_DOUBTFUL: Final = 0.5
_PLAUSIBLE: Final = 3
"""A doubtful answer is given when the patterns speak for one of its first three packages."""


class Responder:
    """Answers questions with a classifier, and with a recognizer of patterns where the classifier is not sure."""

    def __init__(self, model: NaiveBayes, recognizer: PatternRecognizer) -> None:
        self._model, self._recognizer = model, recognizer
        self._metrics = get_advanced_metrics()

    def answer(self, document: Document, asked: float) -> Answer:
        """Answer the question that was ``asked`` at that reading of :func:`time.perf_counter`."""
        record = self._metrics.record_performance_metric
        record(FEATURE, "latency", "queue_ms", (time.perf_counter() - asked) * 1000, unit="ms")
        with self._metrics.track(FEATURE, "classify") as use:
            ranking = self._model.rank(document.text)
            doubtful = ranking.confidence < _DOUBTFUL
            if doubtful:
                # Nobody can say yet whether this was a success.
                use.success = None
        record(
            FEATURE, "response_time", "classification_ms", use.duration_ms, unit="milliseconds", context="production"
        )
        # The logarithm of a probability is below zero, and no table knows its unit.
        record(FEATURE, "model_quality", "log_confidence", math.log(ranking.confidence), unit="nats")
        opinion = self._second_opinion(document)
        given = not doubtful or (opinion is not None and opinion.label in ranking.labels[:_PLAUSIBLE])
        if doubtful:
            # Doubt belongs to the work, so nobody need be warned of it.
            self._metrics.record_error(
                feature=FEATURE,
                error_type="LowConfidenceError",
                error_severity="info",
                error_message=f"{document.name}: only {ranking.confidence:.0%} sure that it is {ranking.labels[0]}",
                recovery_attempted=opinion is not None,
                recovery_successful=given,
                impact_level="low" if given else "medium",
            )
        return Answer(document, ranking, opinion, given, use.duration_ms)

    def _second_opinion(self, document: Document) -> Opinion | None:
        with (
            self._metrics.timed(PATTERNS, "response_time", "pattern_recognition_ms", context="production"),
            self._metrics.track(PATTERNS, "recognize_pattern") as use,
        ):
            try:
                opinion = Opinion(*self._recognizer.recognize(self._model.tokenize(document.text)))
            except PatternRecognitionError as error:
                # To have no opinion is neither a success nor a failure.
                use.success = None
                self._metrics.record_exception(error, PATTERNS, "info", impact_level="low")
                return None
        self._metrics.record_satisfaction(
            feature=PATTERNS,
            satisfaction_type="accuracy",
            score=float(opinion.label == document.label),
            feedback=f"The patterns say {opinion.label}, it is {document.label}",
            interaction_id=document.name,
            scale="0-1",
        )
        return opinion
