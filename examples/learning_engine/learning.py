"""Learning, and measuring along the way how well it goes, on documents that have not been learnt from."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from examples.learning_engine.corpus import FOLDS, topic_texts
from examples.learning_engine.patterns import NextWord
from examples.learning_engine.text import words_by_expression
from otel_metrics import get_advanced_metrics, get_metrics_collector

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future
    from threading import Event

    from examples.learning_engine.classifier import NaiveBayes
    from examples.learning_engine.corpus import Document
    from examples.learning_engine.patterns import PatternRecognizer
    from examples.learning_engine.reader import SourceReader
    from examples.learning_engine.results import Generation

FEATURE: Final = "learning-engine"
PATTERNS: Final = "pattern-recognition"
_FILES_BETWEEN_EXAMINATIONS: Final = 40
_EXAMINED: Final = 60


@dataclass(slots=True)
class Progress:
    """Where the engine is; written by the engine, read by whoever shows it."""

    phase: str = "starting"
    generation: int = 0
    done: int = 0
    total: int = 0
    documents: int = 0
    questions: int = 0
    accuracy: float = math.nan


class Teacher:
    """Teaches a classifier and a recognizer, and records how effective that is."""

    def __init__(self, progress: Progress, stopped: Event) -> None:
        self._progress, self._stopped = progress, stopped
        self._metrics, self._collector = get_advanced_metrics(), get_metrics_collector()
        self._last_accuracy: dict[str, float] = {}
        self._generation_before = math.nan

    def teach(
        self, readings: list[Future[list[Document]]], generation: int, model: NaiveBayes, recognizer: PatternRecognizer
    ) -> list[Document]:
        """Learn from four fifths of the documents, as the files come in, and return the fifth that is held out."""
        progress = self._progress
        progress.phase, progress.done, progress.total = "reading and learning", 0, len(readings)
        held_out: list[Document] = []
        learnt = examined = 0
        for position, reading in enumerate(readings, 1):
            documents = reading.result()
            for document in documents:
                if document.held_out(generation):
                    held_out.append(document)
                else:
                    self._learn(document, model, recognizer)
                    learnt += 1
            progress.done = position
            progress.documents += len(documents)
            if position % _FILES_BETWEEN_EXAMINATIONS == 0:
                self._examine(model, held_out[-_EXAMINED:], learnt - examined)
                examined = learnt
        recognizer.settle()
        return held_out

    def study(self, generation: int, reader: SourceReader) -> None:
        """Learn to predict the next word of the help topics, then check the code examples of those held out."""
        topics = topic_texts()
        held_out = [topic for topic in topics if topic.held_out(generation)]
        with self._metrics.track(PATTERNS, "learn_topics") as use:
            model = NextWord()
            for topic in topics:
                if not topic.held_out(generation):
                    model.learn(words_by_expression(topic.text))
        learnt = len(topics) - len(held_out)
        accuracy, confidence, asked = model.evaluate([words_by_expression(topic.text) for topic in held_out])
        self.record(PATTERNS, "prediction", accuracy, confidence, learnt)
        per_second = learnt / (use.duration_ms / 1000)
        self._metrics.record_performance_metric(PATTERNS, "throughput", "topics_learnt", per_second, unit="per_second")
        self._collector.record_learning_metric(PATTERNS, "predictions", asked)
        for topic in held_out:
            if not self._stopped.is_set():
                reader.check_examples(topic)

    def record(self, feature: str, kind: str, accuracy: float, confidence: float, samples: int) -> None:
        """Record how effective learning was, and how much better than the last time."""
        before = self._last_accuracy.get(kind)
        self._metrics.record_learning_effectiveness(
            feature=feature,
            learning_type=kind,
            accuracy=accuracy,
            confidence=confidence,
            sample_size=samples,
            improvement_rate=(accuracy - before) / before if before else None,
        )
        self._last_accuracy[kind] = accuracy

    def judge(self, model: NaiveBayes, generation: Generation) -> None:
        """Record what a generation came to; a classifier that guessing beats is a critical error."""
        learnt, accuracy = generation.learnt, generation.accuracy
        self.record(FEATURE, "classification", accuracy, generation.confidence, learnt)
        if opinions := [(answer, answer.opinion) for answer in generation.answers if answer.opinion]:
            right = sum(opinion.label == answer.document.label for answer, opinion in opinions) / len(opinions)
            sure = sum(opinion.share for _, opinion in opinions) / len(opinions)
            self.record(PATTERNS, "pattern_recognition", right, sure, len(opinions))
        record = self._collector.record_learning_metric
        record(FEATURE, "accuracy", accuracy, {"training_samples": learnt, "folds": FOLDS})
        record(FEATURE, "temperature", model.temperature)
        # As real code does: there is no generation before the first one, so this begins as not-a-number. Such a value is
        # rejected and counted in otel_metrics_rejected_total; it neither breaks the caller nor spoils an average.
        record(FEATURE, "accuracy_gain", accuracy - self._generation_before)
        self._generation_before = accuracy
        if generation.number == 0:
            # Once is enough for these: there are many, and they tell about the packages, not about time.
            for package, share in generation.by_package.items():
                record(FEATURE, f"accuracy_{package}", share)
        if accuracy <= generation.chance:
            self._metrics.record_error(
                feature=FEATURE,
                error_type="UselessModelError",
                error_severity="critical",
                error_message=f"{accuracy:.0%} of the answers are right; guessing gets {generation.chance:.0%}",
                impact_level="high",
            )

    def _learn(self, document: Document, model: NaiveBayes, recognizer: PatternRecognizer) -> None:
        with self._metrics.track(FEATURE, "learn") as use:
            words = model.learn(document.label, document.text)
            recognizer.learn(document.label, words_by_expression(document.text))
        record = self._metrics.record_performance_metric
        record(FEATURE, "response_time", "learn_document_ms", use.duration_ms, unit="ms")
        record(FEATURE, "document_length", "words_learnt", words, unit="words")

    def _examine(self, model: NaiveBayes, documents: Iterable[Document], learnt: int) -> None:
        started = time.perf_counter()
        rankings = [(document, model.rank(document.text)) for document in documents if document.label in model.words]
        if not rankings:
            return
        took = (time.perf_counter() - started) * 1000
        right = sum(ranking.labels[0] == document.label for document, ranking in rankings)
        confidence = sum(ranking.confidence for _, ranking in rankings) / len(rankings)
        self.record(FEATURE, "classification", right / len(rankings), confidence, learnt)
        self._collector.record_performance_metric(FEATURE, "examination_time_ms", took, {"documents": len(rankings)})
        self._collector.record_learning_metric(FEATURE, "vocabulary", model.vocabulary)
