"""What the engine comes to: answers, the impact of optimizations, generations."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from examples.learning_engine.classifier import Ranking
    from examples.learning_engine.corpus import Document


@dataclass(frozen=True, slots=True)
class Opinion:
    """The package that the patterns in a text speak for, and their share of all votes."""

    label: str
    share: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine found out about one document. In doubt an answer is found but not given."""

    document: Document
    ranking: Ranking
    opinion: Opinion | None
    given: bool
    duration_ms: float

    @property
    def rank(self) -> int:
        """The place of the right package in the answer, counted from 1."""
        return self.ranking.rank_of(self.document.label)


@dataclass(frozen=True, slots=True)
class Impact:
    """What one optimization did; ``for_users`` is the share of cases that got better, or did not get worse."""

    before: float
    after: float
    for_users: float


@dataclass(frozen=True, slots=True)
class Generation:
    """What one generation came to."""

    number: int
    learnt: int
    answers: tuple[Answer, ...]
    impacts: dict[str, Impact]

    @property
    def accuracy(self) -> float:
        """The share of questions whose first answer was right."""
        return sum(answer.rank == 1 for answer in self.answers) / len(self.answers)

    @property
    def confidence(self) -> float:
        """How sure the answers were, on average."""
        return sum(answer.ranking.confidence for answer in self.answers) / len(self.answers)

    @property
    def by_package(self) -> dict[str, float]:
        """The accuracy per package that there were questions about."""
        asked = Counter(answer.document.label for answer in self.answers)
        right = Counter(answer.document.label for answer in self.answers if answer.rank == 1)
        return {package: right[package] / number for package, number in asked.items()}

    @property
    def chance(self) -> float:
        """The accuracy of always naming the most frequent package."""
        return Counter(answer.document.label for answer in self.answers).most_common(1)[0][1] / len(self.answers)
