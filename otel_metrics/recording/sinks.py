"""Sinks that end in an OpenTelemetry instrument: what is folded waits here until a reader collects.

``flush()`` hands it to the public instrument; the flusher calls it on every collection, for the series that have news.
"""

from __future__ import annotations

from bisect import bisect_left
from time import time_ns
from typing import TYPE_CHECKING, ClassVar, Final
from weakref import WeakValueDictionary

from opentelemetry.context import Context, set_value

from otel_metrics.recording.dispatch import HandOverError
from otel_metrics.sdk.acknowledged import acknowledged
from otel_metrics.sdk.bucket_counts import SCALE, BucketCounts
from otel_metrics.sdk.bulk import AlreadyTaken, BulkMeasurement
from otel_metrics.sdk.views import gauges_last

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.metrics import Counter, Histogram, UpDownCounter, _Gauge

    from otel_metrics.recording.batches import Batch
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


class HistogramSink:
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
            if getattr(values[taken], "added", False):
                taken += 1
            raise
        finally:
            del values[:taken]


class CounterSink:
    """Adds the number of values or rows, or (``total=True``) their sum, to one series of a counter.

    The series appears, at zero, with the first collection, whether or not anything was counted.
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
            self._new = False
            self._pending = self._pending or None
            self._instrument.add(0, self._attributes, _NO_CONTEXT)

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


class GaugeSink:
    """Sets one series of a gauge to the value recorded last; ``recurring`` where the SDK has to be told before each collection."""

    __slots__ = ("_attributes", "_instrument", "_last")

    def __init__(self, instrument: _Gauge, attributes: Attributes) -> None:
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
