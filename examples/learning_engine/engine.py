"""The learning engine: reads, learns, recognises, optimises itself, answers and is reviewed, generation after generation.

Each generation learns from four fifths of the documents, tunes itself on one half of the rest and is examined on the other
half; the next one holds out another fifth. A generation is the same work every time, so a number of them is a fixed workload.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Final

from examples.learning_engine.answering import Responder
from examples.learning_engine.classifier import NaiveBayes
from examples.learning_engine.incident import PACKAGE
from examples.learning_engine.learning import Progress, Teacher
from examples.learning_engine.monitor import Monitor
from examples.learning_engine.optimizer import Optimizer
from examples.learning_engine.patterns import PatternRecognizer
from examples.learning_engine.reader import DocumentCache, SourceReader
from examples.learning_engine.results import Generation
from examples.learning_engine.reviewer import Reviewer

if TYPE_CHECKING:
    from examples.learning_engine.corpus import Document, Source
    from examples.learning_engine.results import Answer

_KEPT: Final = 10


@dataclass(slots=True)
class LearningEngine:
    """Runs generations on ``sources`` with a few threads; :meth:`stop` ends it at the next document."""

    sources: list[Source]
    threads: int = 2
    cache_capacity: int = 1200
    progress: Progress = field(default_factory=Progress)
    incident: Event = field(default_factory=Event)
    """Once it is set, the next generation meets the incident, and clears it at its end."""

    _stopped: Event = field(default_factory=Event)

    def stop(self) -> None:
        """Ask the engine to end soon; may be called from any thread and from a signal handler."""
        self._stopped.set()

    def run(
        self, *, generations: int | None = None, seconds: float | None = None, pause: float = 0.0
    ) -> list[Generation]:
        """Run a number of ``generations``, or begin new ones for ``seconds``, or go on until :meth:`stop`.

        ``pause`` is how many seconds to rest between two of them. Returns the last ones that were completed.
        """
        began = time.monotonic()
        completed: list[Generation] = []
        cache = DocumentCache(self.cache_capacity)
        monitor = Monitor(cache)
        monitor.start()
        try:
            with ThreadPoolExecutor(self.threads, "worker") as workers, ThreadPoolExecutor(1, "reviewer") as desk:
                run = _Run(self, cache, SourceReader(cache), Teacher(self.progress, self._stopped), workers, desk)
                number = 0
                while number != generations and not self._stopped.is_set():
                    if number and (self._stopped.wait(pause) or (seconds and time.monotonic() - began >= seconds)):
                        break
                    if generation := run.generation(number):
                        completed = [*completed[1 - _KEPT :], generation]
                    number += 1
        finally:
            monitor.close()
        self.progress.phase = "done"
        return completed

    @property
    def stopped(self) -> Event:
        """Set once the engine has been asked to end."""
        return self._stopped


@dataclass(frozen=True, slots=True)
class _Run:
    """The parts that outlive a generation."""

    engine: LearningEngine
    cache: DocumentCache
    reader: SourceReader
    teacher: Teacher
    workers: ThreadPoolExecutor
    desk: ThreadPoolExecutor
    reviewer: Reviewer = field(default_factory=Reviewer)

    def generation(self, number: int) -> Generation | None:
        """Run one generation; ``None`` if it was stopped, or if there was nothing to ask."""
        progress, stopped = self.engine.progress, self.engine.stopped
        progress.generation = number + 1
        self.cache.forget(number)
        in_trouble = self.engine.incident.is_set()
        self.reader.missing = PACKAGE if in_trouble else None
        model, recognizer = NaiveBayes(), PatternRecognizer()
        readings = [self.workers.submit(self._read, source) for source in self.engine.sources]
        topics = self.workers.submit(self.teacher.study, number, self.reader)
        held_out = self.teacher.teach(readings, number, model, recognizer)
        if in_trouble:
            self.engine.incident.clear()
        tuned_on, asked = held_out[::2], held_out[1::2]
        if stopped.is_set() or not asked:
            return None
        progress.phase = "optimising"
        impacts = Optimizer(model, recognizer, tuned_on).run()
        answers = self._answer(Responder(model, recognizer), asked)
        topics.result()
        if stopped.is_set():
            return None
        generation = Generation(number, model.documents.total(), tuple(answers), impacts)
        progress.accuracy = generation.accuracy
        self.teacher.judge(model, generation)
        return generation

    def _read(self, source: Source) -> list[Document]:
        return [] if self.engine.stopped.is_set() else self.reader.read(source)

    def _answer(self, responder: Responder, documents: list[Document]) -> list[Answer]:
        progress = self.engine.progress
        progress.phase, progress.done, progress.total = "answering", 0, len(documents)
        pending = [self.workers.submit(responder.answer, document, time.perf_counter()) for document in documents]
        answers, reviews = [], []
        for answering in pending:
            if self.engine.stopped.is_set():
                answering.cancel()
                continue
            answer = answering.result()
            answers.append(answer)
            reviews.append(self.desk.submit(self.reviewer.review, answer))
            progress.done += 1
            progress.questions += 1
        for review in reviews:
            review.result()
        return answers
