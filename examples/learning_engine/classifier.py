"""Which package does this code come from? A multinomial naive Bayes classifier in plain Python."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from examples.learning_engine.text import words_by_character

if TYPE_CHECKING:
    from examples.learning_engine.text import Tokenizer


@dataclass(frozen=True, slots=True)
class Ranking:
    """The packages, most probable first, with their probabilities."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]

    @property
    def confidence(self) -> float:
        """The probability of the first one."""
        return self.probabilities[0]

    def rank_of(self, label: str) -> int:
        """Return the place of ``label``, counted from 1."""
        return self.labels.index(label) + 1


class NaiveBayes:
    """Learns word counts per label and ranks labels by their posterior.

    ``smoothing`` is what a word never seen with a label counts. ``temperature`` flattens the posterior, which naive Bayes
    makes far too sure of itself because words of one text are not independent: it is calibrated on held-out documents.
    """

    def __init__(
        self, *, tokenize: Tokenizer = words_by_character, smoothing: float = 1.0, temperature: float = 1.0
    ) -> None:
        self.tokenize = tokenize
        self.smoothing = smoothing
        self.temperature = temperature
        self.documents: Counter[str] = Counter()
        self.words: dict[str, Counter[str]] = {}
        self._totals: Counter[str] = Counter()
        self._vocabulary: set[str] = set()
        self._table: dict[str, tuple[float, ...]] | None = None

    @property
    def vocabulary(self) -> int:
        """How many different words have been learnt."""
        return len(self._vocabulary)

    def learn(self, label: str, text: str) -> int:
        """Learn one document and return its number of words."""
        words = self.tokenize(text)
        self.documents[label] += 1
        self.words.setdefault(label, Counter()).update(words)
        self._totals[label] += len(words)
        self._vocabulary.update(words)
        self._table = None
        return len(words)

    def tabulate(self) -> None:
        """Compute every logarithm once instead of at each question; learning more makes the table void."""
        self._table = {word: tuple(self._weight(label, word) for label in self.words) for word in self._vocabulary}

    def scores(self, text: str) -> dict[str, float]:
        """Return the logarithm of prior times likelihood, per label."""
        words = [word for word in self.tokenize(text) if word in self._vocabulary]
        learnt = self.documents.total()
        priors = [math.log(self.documents[label] / learnt) for label in self.words]
        if self._table is None:
            sums = [
                prior + sum(self._weight(label, word) for word in words)
                for label, prior in zip(self.words, priors, strict=True)
            ]
        else:
            sums = [sum(column) for column in zip(priors, *(self._table[word] for word in words), strict=True)]
        return dict(zip(self.words, sums, strict=True))

    def rank(self, text: str) -> Ranking:
        """Return the labels for ``text``, most probable first.

        Raises:
            ValueError: nothing has been learnt.
        """
        if not self.words:
            raise ValueError("nothing has been learnt yet")
        ranked = sorted(self.scores(text).items(), key=lambda entry: (-entry[1], entry[0]))
        best = ranked[0][1]
        weights = [math.exp((score - best) / self.temperature) for _, score in ranked]
        total = sum(weights)
        return Ranking(tuple(label for label, _ in ranked), tuple(weight / total for weight in weights))

    def _weight(self, label: str, word: str) -> float:
        smoothed = self._totals[label] + self.smoothing * len(self._vocabulary)
        return math.log((self.words[label][word] + self.smoothing) / smoothed)
