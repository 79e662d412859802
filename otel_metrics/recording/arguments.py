"""How one argument of a call becomes numbers: checked, converted and summed up in bulk."""

from __future__ import annotations

from math import inf, isfinite, isnan
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.recording.sinks import Batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context

_NUMBERS: Final = frozenset({float, int})


class ArgumentSpec:
    """How one argument of a call becomes numbers: shared by all series of the call.

    Args:
        convert: from the caller's unit to the base unit; must be monotonic.
        low: smallest admissible value, in the base unit.
        high: largest admissible value, in the base unit.
        reject: called as ``reject(value, reason)`` with each value that does not fit; the reason is one of ``type``,
            ``nan``, ``infinite``, ``negative``, ``range``, ``missing``.
        latest: only the value recorded last is of interest, as to a gauge; batches hold it and the extremes, which tell
            whether all fit.
        required: ``None`` is rejected; otherwise it is an absent value, and skipped silently.
    """

    __slots__ = ("convert", "high", "latest", "low", "reject", "required")

    def __init__(
        self,
        convert: Callable[[list[float]], list[float]] | None = None,
        low: float = 0.0,
        high: float = inf,
        reject: Callable[[Any, str], object] | None = None,
        *,
        latest: bool = False,
        required: bool = False,
    ) -> None:
        self.convert = convert
        self.low = low
        self.high = high
        self.reject = reject
        self.latest = latest
        self.required = required

    def batch(self, raw: list[Any], context: Context | None = None) -> Batch | None:
        """Return the values of ``raw`` (in call order) that fit, summed up, or None if there are none."""
        values = raw
        kinds = set(map(type, raw))
        if not kinds <= _NUMBERS:
            values = [value for value in raw if value is not None]
            if not set(map(type, values)) <= _NUMBERS or (self.required and len(values) < len(raw)):
                return self._one_by_one(raw, context)
        if not values:
            return None
        try:
            if self.latest and isfinite(sum(values)):
                values = [min(values), max(values), values[-1]]
            if int in kinds:
                values = list(map(float, values))
            if self.convert is not None:
                values = self.convert(values)
        except OverflowError:
            return self._one_by_one(values, context)
        batch = Batch(sorted(values), len(values), values[-1], context)
        # A NaN or an infinity anywhere shows in the sum; without them the order is right and the ends are the extremes.
        if isfinite(batch.total) and batch.low >= self.low and batch.high <= self.high:
            return batch
        return self._one_by_one(raw, context)

    def check(self, value: object) -> str | None:
        """Return why ``value`` would be rejected, or None."""
        if value is None:
            return "missing" if self.required else None
        return self._judge(value)[0]

    def _one_by_one(self, raw: list[Any], context: Context | None) -> Batch | None:
        """Keep what fits, reject the rest: the slow way, taken only when a value of the batch is wrong."""
        fitting: list[float] = []
        rejected: list[tuple[Any, str]] = []
        for value in raw:
            if value is None:
                if self.required:
                    rejected.append((None, "missing"))
                continue
            reason, number = self._judge(value)
            if reason is None:
                fitting.append(number)
            else:
                rejected.append((value, reason))
        if self.reject is not None:
            for value, reason in rejected:
                self.reject(value, reason)
        return Batch(sorted(fitting), len(fitting), fitting[-1], context) if fitting else None

    def _judge(self, value: Any) -> tuple[str | None, float]:
        try:
            number = as_number(value)
            if number is None:
                return "type", 0.0
            negative = number < 0.0
            if self.convert is not None:
                number = self.convert([number])[0]
        except OverflowError:
            return "infinite", 0.0
        if isnan(number):
            return "nan", 0.0
        if not isfinite(number):
            return "infinite", 0.0
        if number < self.low:
            # As the caller sees it: 0.5 on a scale from 1 to 5 is not negative, and a rate of -2 is too low where -1 is allowed.
            zero = self.convert([0.0])[0] if self.convert is not None else 0.0
            return "negative" if negative and zero <= self.low else "range", 0.0
        return ("range", 0.0) if number > self.high else (None, number)


def as_number(value: Any) -> float | None:
    """Return ``value`` as a float, or None if it is no number. Text that happens to spell one, or a bool, is a mistake.

    Raises:
        OverflowError: it is too large for one.
    """
    if type(value) in _NUMBERS:  # no net below, which would catch a time limit, too
        return float(value)
    if isinstance(value, (bool, str, bytes)):
        return None
    try:
        return float(value)
    except OverflowError:
        raise
    except Exception:  # whatever a foreign __float__ raises
        return None
