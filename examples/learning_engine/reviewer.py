"""Compares answers with the truth and says how satisfied a user would be: nothing here is made up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from examples.learning_engine.learning import FEATURE
from otel_metrics import get_advanced_metrics

if TYPE_CHECKING:
    from examples.learning_engine.results import Answer

_TIME_BUDGET_MS: Final = 2.0
_GOOD_ENOUGH: Final = 3


class Reviewer:
    """Rates every answer by where the right package stands in it and by how long the user had to wait."""

    def __init__(self) -> None:
        self._metrics = get_advanced_metrics()

    def review(self, answer: Answer) -> None:
        """Record the satisfaction with ``answer``."""
        rank, name = answer.rank, answer.document.name
        if rank == 1:
            words = f"{answer.document.label} is right, {answer.ranking.confidence:.0%} sure"
        else:
            words = f"{answer.document.label} would have been right and came at place {rank}, after {answer.ranking.labels[0]}"
        if not answer.given:
            words += ", and the engine dared not say it"
        done = answer.given and rank <= _GOOD_ENOUGH
        self._record("accuracy", 1 / rank, words, name)
        self._record("task_completion", float(done), words, name)
        self._record("overall", _stars(rank, (1, 2, 3, 5)), words, name, scale="1-5")
        speed = _stars(answer.duration_ms / _TIME_BUDGET_MS, (0.25, 0.5, 1, 2))
        self._record("speed", speed, f"{answer.duration_ms:.2f} ms to wait", name, scale="1-5")

    def _record(
        self, kind: str, score: float, feedback: str, interaction: str, scale: Literal["0-1", "1-5"] = "0-1"
    ) -> None:
        self._metrics.record_satisfaction(
            feature=FEATURE,
            satisfaction_type=kind,
            score=score,
            feedback=feedback,
            interaction_id=interaction,
            scale=scale,
        )


def _stars(value: float, limits: tuple[float, float, float, float]) -> float:
    """Return 5 stars up to the first of ``limits``, 4 up to the second, and so on down to 1."""
    return 5.0 - sum(value > limit for limit in limits)
