"""The values of one argument of a call: checked, converted and summed up in bulk."""

from __future__ import annotations

from math import inf, isfinite, isnan
from operator import mul
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context

_NUMBERS: Final = frozenset({float, int})


class Batch:
    """Values of one series, summed up once for all its sinks. Read-only but for ``taken``.

    ``values`` are ascending, converted and admissible; ``last`` is the one recorded last. A batch of bare events (the rows
    of a call, the hits of a call_counter) has ``n`` and no values.
    ``context`` is set for a single value recorded in a sampled span, ``extra`` holds attributes for its exemplar only.
    ``taken`` is how many of its sinks have taken it in, see :class:`~otel_metrics.recording.dispatch.Sink`.
    """

    __slots__ = ("_squares", "context", "extra", "high", "last", "low", "n", "taken", "total", "values")

    def __init__(self, values: list[float], n: int, last: float, context: Context | None = None) -> None:
        self.values = values
        self.n = n
        self.last = last
        self.total: float = sum(values)
        self.low = values[0] if values else inf
        self.high = values[-1] if values else -inf
        self.context = context
        self.extra: dict[str, str] | None = None
        self.taken = 0
        self._squares: float | None = None

    @property
    def squares(self) -> float:
        """Sum of squares, computed when a sink asks for it."""
        if self._squares is None:
            self._squares = sum(map(mul, self.values, self.values))
        return self._squares


class ArgumentSpec:
    """How one argument of a call becomes numbers: shared by all series of the call.

    Args:
        convert: from the caller's unit to the base unit; must be monotonic.
        low: smallest admissible value, in the base unit.
        high: largest admissible value, in the base unit.
        reject: called as ``reject(value, reason)`` with each value that does not fit; the reason is one of ``type``,
            ``nan``, ``infinite``, ``negative``, ``range``. ``None`` is an absent value and skipped silently.
        latest: only the value recorded last is of interest, as to a gauge; batches hold it and the extremes, which tell
            whether all fit.
    """

    __slots__ = ("convert", "high", "latest", "low", "reject")

    def __init__(
        self,
        convert: Callable[[list[float]], list[float]] | None = None,
        low: float = 0.0,
        high: float = inf,
        reject: Callable[[Any, str], object] | None = None,
        *,
        latest: bool = False,
    ) -> None:
        self.convert = convert
        self.low = low
        self.high = high
        self.reject = reject
        self.latest = latest

    def batch(self, raw: list[Any], context: Context | None = None) -> Batch | None:
        """Return the values of ``raw`` (in call order) that fit, summed up, or None if there are none."""
        values = raw
        kinds = set(map(type, raw))
        if not kinds <= _NUMBERS:
            values = [value for value in raw if value is not None]
            if not set(map(type, values)) <= _NUMBERS:
                return self._one_by_one(values, context)
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
        return None if value is None else self._judge(value)[0]

    def _one_by_one(self, raw: list[Any], context: Context | None) -> Batch | None:
        """Keep what fits, reject the rest: the slow way, taken only when a value of the batch is wrong."""
        fitting: list[float] = []
        rejected: list[tuple[Any, str]] = []
        for value in raw:
            if value is not None:
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
            if self.convert is not None:
                number = self.convert([number])[0]
        except OverflowError:
            return "infinite", 0.0
        if isnan(number):
            return "nan", 0.0
        if not isfinite(number):
            return "infinite", 0.0
        if number < self.low:
            return "negative" if number < 0.0 <= self.low else "range", 0.0
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
