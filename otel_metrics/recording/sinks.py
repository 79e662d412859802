"""Sinks: who takes in what a series recorded, in batches.

:class:`Sink` is what all have in common. Two only split a batch between others: by a threshold, by sign. Three end in an
OpenTelemetry instrument: what is folded waits here until a reader collects, and ``flush()`` hands it to the public instrument.
The day totals and the local store have sinks of their own.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import inf
from operator import mul
from time import time_ns
from typing import TYPE_CHECKING, ClassVar, Final, Protocol
from weakref import WeakValueDictionary

from opentelemetry.context import Context, set_value

from otel_metrics.sdk.acknowledged import acknowledged
from otel_metrics.sdk.bucket_counts import SCALE, BucketCounts
from otel_metrics.sdk.bulk import AlreadyTaken, BulkMeasurement
from otel_metrics.sdk.views import gauges_last

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.metrics import Counter, Histogram, UpDownCounter

    from otel_metrics.sdk.bucket_counts import BucketSpec

    Attributes = Mapping[str, str | bool | int | float]


_NO_CONTEXT: Final = set_value("otel_metrics.handed_over", value=True, context=Context())
"""Values are handed over by whoever collects; the span that is active there has nothing to do with them.

Not empty, because the SDK takes an empty context for none and looks up the active one.
"""

_CROWDED: Final = 1024
"""Values of one series that may wait one by one for a collection; the ticker hands over what is more."""

_OVERCROWDED: Final = 65_536
"""Values that do not even wait for the ticker: who records faster than one by one can be taken must pay for it."""


class Batch:
    """Values of one series, summed up once for all its sinks. Read-only but for ``taken``.

    ``values`` are ascending, converted and admissible; ``last`` is the one recorded last. A batch of bare events (the rows
    of a call, the hits of a call counter) has ``n`` and no values.
    ``context`` is set for a single value recorded in a sampled span, ``extra`` holds attributes for its exemplar only.
    ``taken`` is how many of its sinks have taken it in, see :class:`Sink`.
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


class HandOverError(Exception):
    """A sink could not hand over what it was full of. Told to whoever looks after us, not to who happens to be recording."""


class Sink:
    """Takes in what a series recorded. Calls never overlap: they are made under the flusher's lock, and must not block.

    Only ``seed`` is called without it, before anything is folded; a ``flush`` may come meanwhile.
    A sink that ends in an instrument has something to ``flush``; the others keep the defaults.
    """

    __slots__ = ()

    def fold(self, batch: Batch, now: float, /) -> None:
        """Take in ``batch``, recorded shortly before ``now`` (unix seconds).

        Raises ``batch.taken`` by one in the same breath, without a call in between: an attempt that a signal handler's
        exception ended is repeated from the sinks that have not taken the batch yet.
        """
        raise NotImplementedError

    def flush(self) -> None:
        """Hand over to the instrument what is pending: called before every collection, for the series that have news."""

    def seed(self) -> None:
        """Make the series appear before its first value, where it can."""

    @property
    def crowded(self) -> bool:
        """Whether so much is pending that it takes up memory: then the ticker does not wait for a collection."""
        return False

    @property
    def recurring(self) -> bool:
        """Whether the series must be flushed again even if nothing is recorded."""
        return False


Part = tuple[Batch, Sequence[Sink]]
"""A batch and who takes it in."""


class Split(Sink):
    """A sink that only divides its batches among others, its ``branches``."""

    __slots__ = ()

    @property
    def branches(self) -> Sequence[Sink]:
        """The sinks that get something."""
        raise NotImplementedError

    def split(self, batch: Batch) -> Iterator[Part]:
        """Yield what goes to whom; ``batch`` itself where it goes undivided."""
        raise NotImplementedError

    def fold(self, batch: Batch, now: float, /) -> None:
        """Give each branch its part."""
        for part, sinks in self.split(batch):
            for sink in sinks:
                sink.fold(part, now)


class ThresholdSplit(Split):
    """Counts the values at or above a threshold in some sinks, those below it in others; exact, at record time."""

    __slots__ = ("_above", "_below", "_threshold")

    def __init__(self, threshold: float, at_or_above: tuple[Sink, ...], below: tuple[Sink, ...]) -> None:
        self._threshold = threshold
        self._above = at_or_above
        self._below = below

    @property
    def branches(self) -> tuple[Sink, ...]:
        """The sinks of both sides."""
        return (*self._above, *self._below)

    def split(self, batch: Batch) -> Iterator[Part]:
        """Count a batch on both sides of the threshold."""
        below = bisect_left(batch.values, self._threshold)
        for n, sinks in ((below, self._below), (batch.n - below, self._above)):
            if n:
                rows = Batch([], n, 0.0, batch.context)
                rows.extra = batch.extra
                yield rows, sinks


class SignSplit(Split):
    """Gives values of zero and above to one sink, the absolute values of those below zero to another.

    Histograms on the wire hold no negative values: their sum would not be a counter.
    """

    __slots__ = ("_negative", "_positive")

    def __init__(self, positive: Sink, negative: Sink) -> None:
        self._positive = positive
        self._negative = negative

    @property
    def branches(self) -> tuple[Sink, ...]:
        """The sinks of both sides."""
        return (self._positive, self._negative)

    def split(self, batch: Batch) -> Iterator[Part]:
        """Give each side its part."""
        if batch.low >= 0:
            yield batch, (self._positive,)
            return
        values = batch.values
        zero = bisect_left(values, 0.0)
        for sink, part in (
            (self._negative, [-value for value in reversed(values[:zero])]),
            (self._positive, values[zero:]),
        ):
            if part:
                half = Batch(part, len(part), part[-1], batch.context)
                half.extra = batch.extra
                yield half, (sink,)


class Target:
    """A histogram, and what its acknowledgements have told about who listens to it. Shared by all its series.

    ``spec`` is what values may be summed up into before they are handed over; None as long as that is not known, or if
    the values themselves are wanted. ``others`` tells that aggregations listen which take one value at a time.
    """

    __slots__ = ("__weakref__", "instrument", "others", "spec")

    _all: ClassVar[WeakValueDictionary[int, Target]] = WeakValueDictionary()

    def __init__(self, instrument: Histogram) -> None:
        self.instrument = instrument
        self.spec: BucketSpec | None = None
        self.others = False

    @classmethod
    def of(cls, instrument: Histogram) -> Target:
        """Return the one target of an instrument."""
        target = cls._all.get(id(instrument))
        return target or cls._all.setdefault(id(instrument), cls(instrument))

    def send(self, bulk: BulkMeasurement, attributes: Attributes, context: Context = _NO_CONTEXT) -> None:
        """Record a bulk and learn from what comes back."""
        self.instrument.record(bulk, attributes, context)
        self.others = bulk.added or (self.others and not bulk.takers)
        self.spec = bulk.spec if bulk.takers else self.spec


class HistogramSink(Sink):
    """Values of one series of a histogram; negative ones are no values of a histogram and left out.

    What is folded is summed up as the listeners to the instrument want it, and handed over as one bulk per collection.
    """

    __slots__ = ("_attributes", "_born", "_counts", "_last", "_scale", "_target", "_values")

    def __init__(self, instrument: Histogram, attributes: Attributes) -> None:
        self._target = Target.of(instrument)
        self._attributes = attributes
        self._born: int | None = time_ns()
        self._counts: BucketCounts | None = None
        self._values: list[float] | None = None
        self._last = 0.0
        self._scale = SCALE

    def fold(self, batch: Batch, _now: float, /) -> None:
        """Sum up a batch, or hand over at once the value that belongs to a span."""
        values, total, last = batch.values, batch.total, batch.last
        if batch.low < 0.0:
            values = values[bisect_left(values, 0.0) :]
            if not values:
                batch.taken += 1
                return
            total, last = sum(values), last if last >= 0.0 else values[-1]
        if batch.context is not None:
            batch.taken += 1
            self._send_at_once(last, batch.context, batch.extra)
            return
        spec = self._target.spec
        if spec is not None and not self._target.others:
            if self._counts is None:
                self._counts = BucketCounts(spec, self._scale)
            self._counts.add(values, total, last)
            batch.taken += 1
            return
        self._last = last
        if self._values is None:
            self._values = []
        self._values += values
        batch.taken += 1
        if len(self._values) // _OVERCROWDED > (len(self._values) - len(values)) // _OVERCROWDED:
            self._make_room()

    @property
    def crowded(self) -> bool:
        """Whether so many values wait one by one that they take up memory."""
        return self._values is not None and len(self._values) >= _CROWDED

    def flush(self) -> None:
        """Hand over what is pending; what nobody has taken when that raises waits for the next time."""
        if self._values:
            self._send_values(self._values)
        counts = self._counts
        if counts is not None:
            bulk = BulkMeasurement.of(counts.last, counts, self._born)
            try:
                self._send(bulk)
            except BaseException:
                if bulk.takers:
                    self._counts = None
                raise
            self._counts = None

    def _make_room(self) -> None:
        """Hand over in the middle of a record call, which must not hear of it if that raises; nor may it take up ever more memory."""
        try:
            self.flush()
        except Exception as error:
            n = len(self._values or ())
            if n >= 2 * _OVERCROWDED:
                self._values = None
                raise HandOverError(f"{n} values are lost") from error
            raise HandOverError(f"{n} values wait") from error

    def _send(self, bulk: BulkMeasurement, context: Context = _NO_CONTEXT) -> None:
        self._target.send(bulk, self._attributes, context)
        self._born = None
        self._scale = min(self._scale, bulk.scale)

    def _send_at_once(self, value: float, context: Context, extra: Mapping[str, str] | None) -> None:
        """Hand over the value of a span; if that raises and nobody has taken it, it waits like any other."""
        bulk = BulkMeasurement.of(value, [value], self._born, extra)
        try:
            self._send(bulk, context)
        except BaseException:
            if not bulk.takers and not bulk.added:
                self._values, self._last = [*(self._values or ()), value], value
            raise

    def _send_values(self, values: list[float]) -> None:
        """Hand over values whose listeners are not known yet, or take them only one at a time; empties the list."""
        self._send_rest(values)  # what an earlier attempt has left
        if not values:
            return
        # The value recorded last goes last, for aggregations that keep only that.
        at = values.index(self._last)
        values[at], values[-1] = values[-1], values[at]
        offered, rest = list(values), list(map(AlreadyTaken, values))
        bulk = BulkMeasurement.of(offered[0], sorted(offered), self._born)
        try:
            self._send(bulk)
            if bulk.added or not bulk.takers:
                self._target.others = True
                values[:] = rest[1:]
            else:
                values[:] = rest[1:][-1:]
        except BaseException:
            left = rest if bulk.takers else offered
            values[:] = left[1:] if bulk.added else left
            raise
        self._send_rest(values)

    def _send_rest(self, values: list[float]) -> None:
        """Hand over, one by one, the values at the beginning that aggregations of ours have taken."""
        taken = 0
        try:
            for value in values:
                if type(value) is not AlreadyTaken:
                    break
                self._target.instrument.record(value, self._attributes, _NO_CONTEXT)
                taken += 1
        except BaseException:
            value = values[taken]
            if isinstance(value, AlreadyTaken) and value.added:
                taken += 1
            raise
        finally:
            del values[:taken]


class CounterSink(Sink):
    """Adds the number of values or rows, or (``total=True``) their sum, to one series of a counter.

    The series appears at zero, whether or not anything was counted: with ``seed``, or else with the first collection.
    """

    __slots__ = ("_attributes", "_instrument", "_new", "_pending", "_total")

    def __init__(self, instrument: Counter | UpDownCounter, attributes: Attributes, *, total: bool = False) -> None:
        self._instrument = instrument
        self._attributes = attributes
        self._total = total
        self._pending: float | None = 0
        self._new = True

    def fold(self, batch: Batch, _now: float, /) -> None:
        """Add a batch's count or sum; at once if it belongs to a span."""
        amount = batch.total if self._total else batch.n
        if batch.context is None:
            self._pending = amount + (self._pending or 0)
            batch.taken += 1
            return
        self._new, self._pending = False, self._pending or None
        batch.taken += 1
        offered = acknowledged(amount)
        try:
            self._instrument.add(offered, self._attributes, batch.context)
        except BaseException:
            if not offered.added:  # it waits like any other
                self._pending = amount + (self._pending or 0)
            raise

    def seed(self) -> None:
        """Make the series appear at zero."""
        if self._new:
            self._instrument.add(0, self._attributes, _NO_CONTEXT)
            self._new = False
            self._pending = self._pending or None

    def flush(self) -> None:
        """Add what is pending; if that raises and nobody has taken it, it waits for the next time."""
        if self._pending is None:  # zero is news, too: a delta of zero is a data point
            return
        offered = acknowledged(self._pending)
        try:
            self._instrument.add(offered, self._attributes, _NO_CONTEXT)
            self._pending, self._new = None, False
        except BaseException:
            if offered.added:
                self._pending, self._new = None, False
            raise


class Gauge(Protocol):
    """What is used of OpenTelemetry's gauge, whose class has no public name."""

    def set(self, amount: float, attributes: Attributes | None = None, context: Context | None = None, /) -> None:
        """Set the series of these attributes."""


class GaugeSink(Sink):
    """Sets one series of a gauge to the value recorded last; ``recurring`` where the SDK has to be told before each collection."""

    __slots__ = ("_attributes", "_instrument", "_last")

    def __init__(self, instrument: Gauge, attributes: Attributes) -> None:
        self._instrument = instrument
        self._attributes = attributes
        self._last: float | None = None

    @property
    def recurring(self) -> bool:
        """Whether the series must be flushed again even if nothing is recorded."""
        return self._last is not None

    def fold(self, batch: Batch, _now: float, /) -> None:
        """Remember the last value, and set at once the one that belongs to a span."""
        self._last = batch.last
        batch.taken += 1
        if batch.context is not None:
            self._instrument.set(batch.last, self._attributes, batch.context)

    def flush(self) -> None:
        """Set the gauge."""
        if self._last is not None:
            self._instrument.set(self._last, self._attributes, _NO_CONTEXT)
            if gauges_last():
                self._last = None
