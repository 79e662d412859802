"""The local store of all processes that share a directory: what getters read there.

Every process keeps what it records in a :class:`~otel_metrics.recording.local_store.LocalStore`, empties it once a second into a
file that all share, and a process whose getters are asked reads that file into another such store.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import zlib
from array import array
from itertools import islice
from math import isfinite
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.catalogue import CATALOGUE
from otel_metrics.errors import ConfigurationError
from otel_metrics.multiprocess.files import Busy
from otel_metrics.multiprocess.recent import MOST_BYTES, Position
from otel_metrics.multiprocess.values import Latest
from otel_metrics.recording.local_store import COUNTER, LocalStore
from otel_metrics.sketch import BITS, Moments, Sketch

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Iterator

    from otel_metrics.catalogue import Metric
    from otel_metrics.multiprocess.recent import RecentFile
    from otel_metrics.multiprocess.totals import SharedTotals, Snapshot
    from otel_metrics.recording.local_store import Entry, Labels
    from otel_metrics.sketch import Part

_log: Final = logging.getLogger("otel_metrics")

BUDGET: Final = 32 * 2**20
"""Bytes that the values of all processes may take in one that reads them, see :class:`LocalStore`."""

_AT_ONCE: Final = 256
"""Series in one record of a file that is written anew."""

_REST: Final = 20.0
"""Seconds after which a process that could not write the file anew tries again."""

_LARGEST_TEXT: Final = 64 << 20
"""Bytes of JSON that a record may come to."""

_SIGN_AND_EXPONENT: Final = 12
"""Bits of a double in front of those of its mantissa."""

_LATEST: Final = 1 << 40
"""Unix time that no slot ends after."""

_LABELS: Final = {(metric.kind.value, metric.name): len(metric.label_names) for metric in CATALOGUE}
"""How many labels a metric has, by its kind and name."""


class SharedStore:
    """What one process adds to the file, and reads from it.

    Args:
        totals: which file, and the gauges of all processes.
        own: what this process records; emptied by every :meth:`hand_over`.
    """

    def __init__(self, totals: SharedTotals, own: LocalStore) -> None:
        self._totals = totals
        self._own = own
        self._file = totals.recent(lambda: own.born)
        self._handing_over = threading.RLock()
        self._on_its_way: list[Entry] = []
        self._arrived: list[int] = []
        self._exists = False
        self._rests_until = 0.0
        self._reading = threading.RLock()
        self._read = self._new_read()

    def hand_over(self) -> bool:
        """Append what has been recorded since the last time; return whether that was possible. What was not waits."""
        with self._handing_over:  # who finds nothing to hand over must not be ahead of whoever took it
            self._settle()
            now = self._own.clock()
            self._own.take_out(self._on_its_way)
            try:
                while self._on_its_way:
                    self._file.append(_packed(self._on_its_way[:_AT_ONCE]), self._arrived, self._begin_anew)
                    self._settle()
            except Exception as error:
                if not self._totals.passes(error):
                    raise
                self._settle()
                while self._on_its_way:
                    self._own.take_in(self._on_its_way[-1:])
                    del self._on_its_way[-1:]
                return False
            if self._exists:
                self._own.born = now  # of what was before nothing is left there
        return True

    # A signal handler may raise anywhere in there: the next time goes on from what these attributes say.
    def _settle(self) -> None:
        if self._arrived:
            self._exists = True
            self._on_its_way, self._arrived = self._on_its_way[_AT_ONCE:], []

    def _begin_anew(self) -> None:
        if time.monotonic() < self._rests_until:
            return
        try:
            threading.Thread(target=self._write_anew, name="otel_metrics.rewrite", daemon=True).start()
        except RuntimeError:  # no more threads, or the interpreter is shutting down: another process will
            _log.debug("the file of recent values could not be written anew", exc_info=True)

    def values(self) -> SharedValues | None:
        """Return what all processes have handed over, and their gauges; None if this process cannot join the others."""
        with self._reading:
            try:
                self._read.catch_up()
                self._exists = True
            except BaseException as error:
                if not self._totals.passes(error):
                    self._read = self._new_read()  # a signal handler has raised: read it all again
                    raise
                return None
            store = self._read.store
        return SharedValues(store, self._totals.read())

    def _new_read(self) -> _Read:
        return _Read(self._file, self._own.clock, self._totals.problems)

    def _write_anew(self) -> None:
        """Write what the records come to, without what is too old, and as sparing with room as a store is with memory.

        One process at a time does so. If it is killed while at it, the next one may at once.
        """
        try:
            with self._totals.turn("rewrite") as turn:
                turn.take(0.0)
                turn.begin()
                self._replace()
        except Busy:
            _log.debug("the file of recent values is being written anew by another process")
        except (OSError, ConfigurationError) as error:
            self._rests_until = time.monotonic() + _REST
            if not self._totals.passes(error):
                raise

    def _replace(self) -> None:
        read = self._new_read()
        read.catch_up()
        entries = iter(read.store.entries())
        records = [_packed(some) for some in iter(lambda: list(islice(entries, _AT_ONCE)), [])]
        born = read.store.born
        if sum(map(len, records)) > MOST_BYTES // 2:
            self._totals.problems["no_room"] += 1
            records, born = [], self._own.clock()
        self._file.replace(records, read.position, born)


class SharedValues:
    """What getters ask: values and counts of all processes in their time, gauges as the endpoint shows them."""

    def __init__(self, store: LocalStore, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.instance_id = snapshot.instance_id
        self.covered = store.covered
        self.values = store.values
        self.counts = store.counts

    def latest(self, metric: Metric, end: float) -> Iterator[tuple[Labels, float, float]]:
        """Yield every series of a gauge: labels, value, unix time (0.0 where it is of several processes)."""
        for sample in self._snapshot.rows(metric.name):
            labels = dict(zip(metric.label_names, sample.key[1:], strict=False))
            if not isinstance(sample.value, Latest):
                yield labels, sample.value, 0.0
            elif sample.value.time_unix_nano / 1e9 <= end:
                yield labels, sample.value.value, sample.value.time_unix_nano / 1e9


class _Read:
    """What one reader has read."""

    def __init__(self, file: RecentFile, clock: Callable[[], float], problems: Counter[str]) -> None:
        self._file = file
        self._clock = clock
        self._problems = problems
        self.position = Position()
        self.store = LocalStore(clock, BUDGET)

    def catch_up(self) -> None:
        news = self._file.read(self.position)
        if news.anew:
            self.store = LocalStore(self._clock, BUDGET)
            self.store.born = news.born
        self.position = news.position  # first, as a signal handler may ask in between
        for record in news.records:
            entries = _unpacked(record)
            if entries is None:
                self._problems["corrupt_row"] += 1
            else:
                self.store.take_in(entries)


# ------------------------------------------------------------------------------------------------------------ records
_LENGTH: Final = Struct("<I")
"""Bytes of the compressed JSON that tells what there is; all values follow it, as they are."""


def _packed(entries: Iterable[Entry]) -> bytes:
    values = array("d")

    def plain(content: Part | float) -> Any:
        if isinstance(content, array):
            values.extend(content)
            return len(content)
        if isinstance(content, Sketch):
            moments = content.moments
            known = moments.count, moments.total, moments.deviations, moments.low, moments.high
            return {
                "moments": known,
                "bits": content.bits,
                "bins": list(zip(content.keys, content.counts, strict=True)),
            }
        return content

    told = [
        (kind, name, key, [(start, end, plain(content)) for start, end, content in pieces])
        for kind, name, key, pieces in entries
    ]
    text = zlib.compress(json.dumps(told, separators=(",", ":")).encode(), 1)
    return _LENGTH.pack(len(text)) + text + values.tobytes()


def _unpacked(record: bytes) -> list[Entry] | None:
    """Return what is in a record; None if that is none of ours."""
    try:
        (length,) = _LENGTH.unpack_from(record)
        text, values = record[_LENGTH.size :][:length], array("d", record[_LENGTH.size + length :])
        told = json.loads(zlib.decompressobj().decompress(text, _LARGEST_TEXT))
        at = 0

        def piece(kind: str, start: Any, end: Any, plain: Any) -> tuple[int, int, Part | float]:
            nonlocal at
            _require(type(start) is int is type(end) and 0 <= start < end <= _LATEST)
            if kind == COUNTER:
                return start, end, _finite(plain)
            if isinstance(plain, dict):
                return start, end, _sketch(plain)
            at += int(plain)
            _require(0 < plain <= at <= len(values))
            return start, end, values[at - plain : at]

        _require(isfinite(sum(values)))
        return [
            (kind, name, tuple(map(str, key)), [piece(kind, *each) for each in pieces])
            for kind, name, key, pieces in told
            if _LABELS.get((kind, name)) == len(key)
        ]
    except (zlib.error, StructError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _sketch(plain: dict[str, Any]) -> Sketch:
    count, *known = plain["moments"]
    bins = {int(key): int(n) for key, n in plain["bins"]}
    bits = plain["bits"]
    _require(type(count) is int is type(bits) and count > 0 and 0 <= bits <= BITS)
    end = 1 << _SIGN_AND_EXPONENT + bits - 1
    _require(-end <= min(bins) and max(bins) < end and min(bins.values()) > 0)
    total, deviations, low, high = map(_finite, known)
    _require(deviations >= 0)
    return Sketch(Moments(count, total, deviations, low, high), bins, bits)


def _finite(number: Any) -> float:
    _require(isfinite(number))
    return float(number)


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError("a record of somebody else's making")
