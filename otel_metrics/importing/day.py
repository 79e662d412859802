"""One day's values from the spool into the keepers: cut into slots, a batch per series and slot."""

from __future__ import annotations

from bisect import bisect_left
from hashlib import blake2b
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from otel_metrics.catalogue import Kind
from otel_metrics.importing.keepers import HistogramSeries
from otel_metrics.importing.spool import ROWS
from otel_metrics.importing.timestamps import MS_PER_DAY
from otel_metrics.recording.sinks import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from otel_metrics.importing.keepers import Bundle, Keepers
    from otel_metrics.importing.spool import Part
    from otel_metrics.recording.sinks import Sink

STEPS: Final = (300, 900, 1800, 3600)
"""Seconds between two samples of a cumulative series: at most the hour that is looked back from the start of a window."""

_SAMPLES_PER_ROW: Final = 5
"""promtool takes 2 µs a sample, so that samples are what an import costs."""

_FEW: Final = 20_000

FORMAT: Final = "1"
"""Part of a day's content hash; another one for files that hold the same values in another way."""


def ordered(part: Part) -> Part:
    """Return the same values by time; equal times in the order of the rows."""
    times, values = part
    if all(map(int.__le__, times[:-1], times[1:])):
        return part
    places = sorted(range(len(times)), key=times.__getitem__)
    picked = itemgetter(*places)
    return type(times)("q", picked(times)), type(values)("d", picked(values) if values else ())


def content_hash(keepers: Keepers, parts: Mapping[tuple[int, int], Part]) -> str:
    """Return a hash of what a day holds, whatever else is in the database and in which order it was read."""
    digests = []
    for (index, column), (times, values) in parts.items():
        one = blake2b(digest_size=16)
        one.update(repr((_name(keepers.bundles[index]), column)).encode())
        one.update(times.tobytes())
        one.update(values.tobytes())
        digests.append(one.digest())
    whole = blake2b(FORMAT.encode(), digest_size=16)
    for digest in sorted(digests):
        whole.update(digest)
    whole.update(repr(keepers.settings.satisfaction_threshold).encode())
    return whole.hexdigest()


def step(keepers: Keepers, parts: Mapping[tuple[int, int], Part]) -> int:
    """Return the finest step (seconds) at which a day's series have at most about five samples a row."""
    rows = sum(len(times) for (_, column), (times, _) in parts.items() if column in {0, ROWS})
    series = sum(_weight(keepers.bundles[index]) for index in {index for index, _ in parts})
    most = max(_SAMPLES_PER_ROW * rows, _FEW)
    return next((seconds for seconds in STEPS if series * 86_400 // seconds <= most), STEPS[-1])


def fill(keepers: Keepers, day: int, parts: Mapping[tuple[int, int], Part], seconds: int) -> None:
    """Put a day into the empty keepers, in slots of ``seconds`` that are counted from its start."""
    start = day * MS_PER_DAY
    for (index, column), part in sorted(parts.items(), key=lambda item: item[0]):
        bundle = keepers.bundles[index]
        for seed in bundle.seeds:
            gauge = seed.metric.kind is Kind.GAUGE
            seed.slots.setdefault(0, 1.0 if gauge else 0.0)
        sinks = bundle.rows if column == ROWS else bundle.sinks[column]
        for slot, batch in _batches(ordered(part), start, seconds * 1000):
            for sink in sinks:
                sink.fold(batch, slot)


def _batches(part: Part, start: int, length: int) -> Iterator[tuple[int, Batch]]:
    times, values = part
    at, n = 0, len(times)
    while at < n:
        slot = (times[at] - start) // length
        end = bisect_left(times, start + (slot + 1) * length, at)
        inside = values[at:end]
        yield slot, Batch(sorted(inside), end - at, inside[-1] if inside else 0.0)
        at = end


def _weight(bundle: Bundle) -> int:
    """Return about how many exposed series a bundle has."""
    sinks: Sequence[Sink] = [sink for column in (*bundle.sinks, bundle.rows) for sink in column]
    return sum(len(sink.metric.buckets) + 2 if isinstance(sink, HistogramSeries) else 1 for sink in sinks)


def _name(bundle: Bundle) -> list[tuple[str, ...]]:
    """Return what tells a bundle apart: the series that it feeds."""
    names: list[tuple[str, ...]] = []
    for sink in (sink for column in (*bundle.sinks, bundle.rows) for sink in column):
        metric, labels = getattr(sink, "metric", None), getattr(sink, "labels", {})
        if metric is not None:
            names.append((metric.name, *map(str, sorted(labels.items()))))
        else:
            names.append((type(sink).__name__, *map(str, getattr(sink, "key", ()))))
    return names
