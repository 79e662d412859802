"""Rows of the old tables to values by UTC day: units, labels, scales and limits are those of the record calls."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from itertools import chain
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_metrics.facade.binding import Binding
from otel_metrics.facade.scales import HIGHEST, Scales
from otel_metrics.importing.day_files import ROWS
from otel_metrics.importing.timestamps import MS_PER_DAY
from otel_metrics.recording.labels import RejectedCallError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from otel_metrics.importing.day_builder import DayBuilder, ImportBuffer
    from otel_metrics.importing.day_files import DayFiles
    from otel_metrics.importing.report import ImportReport
    from otel_metrics.importing.source_db import FoundTable, OldDatabase, Table
    from otel_metrics.importing.timestamps import Timestamps
    from otel_metrics.recording.arguments import ArgumentSpec
    from otel_metrics.settings import Scale

BATCH: Final = 200_000
"""Rows that are read before their values are converted and written to the day files."""

KNOWN: Final = 100_000
"""Label combinations of a table that are remembered; beyond them they are looked up anew, and counted once more."""

KNOWN_TEXT: Final = 32 * 2**20
"""Characters of these combinations, likewise: some columns hold whole documents."""

_NUMBERS: Final = frozenset({float, int})
_PLAIN: Final = frozenset({float, int, type(None)})
_LONGEST: Final = 100
"""Characters kept of text where a number belongs: it is rejected, whatever it says."""


class BoundLabels(NamedTuple):
    """What one combination of label columns leads to."""

    target: Any
    """A buffer, the scales of a satisfaction type, or None: rejected."""
    remarks: tuple[tuple[str, str], ...]
    """(argument, reason) of what did not fit."""


class _Row(NamedTuple):
    """What a batch keeps of a row until its values are converted: not the label columns, which may be long."""

    moment: int
    rowid: int
    values: tuple[Any, ...]


class RowSpan:
    """The rows of one table that fall on one day."""

    __slots__ = ("first", "last", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self.first: int | None = None
        self.last = 0

    def add(self, rowids: Iterable[int]) -> None:
        """Add rows by their ids."""
        for rowid in rowids:
            self.rows += 1
            self.first = rowid if self.first is None else min(self.first, rowid)
            self.last = max(self.last, rowid)


class RowReader:
    """Reads tables into the day files, and accounts for every row."""

    def __init__(self, builder: DayBuilder, day_files: DayFiles, report: ImportReport, timestamps: Timestamps) -> None:
        self._builder = builder
        binding: Binding[ImportBuffer, ImportBuffer] = Binding(builder)
        self._change = binding.change
        self._calls: dict[str, Callable[..., ImportBuffer | Scales[ImportBuffer]]] = {
            "performance": binding.performance,
            "satisfaction": binding.satisfaction,
            "usage": binding.usage,
            "learning": binding.learning,
            "optimization": binding.optimization,
            "resource": binding.resource,
            "error": binding.error,
        }
        self._day_files = day_files
        self._report = report
        self.timestamps = timestamps
        self.spans: defaultdict[int, defaultdict[str, RowSpan]] = defaultdict(lambda: defaultdict(RowSpan))
        """Rows that fit, by day and table."""
        self.scales: defaultdict[str, set[Scale]] = defaultdict(set)
        """Scales that scores of a satisfaction type were on."""
        self.doubtful: set[str] = set()
        """Satisfaction types with scores of 1 that nothing told the scale of."""
        self.cardinality: Counter[str] = Counter()
        """Label combinations by table."""
        self.first: dict[int, int] = {}
        """The first day of every buffer that got rows."""
        self.shifted: set[tuple[int, int]] = set()
        """(buffer, day) of rows that are written as another day than that of UTC, and of that other day."""

    def read(self, database: OldDatabase, found: FoundTable, tick: Callable[[int], object]) -> None:
        """Read one table; ``tick`` is called with the number of rows after every batch."""
        table = found.table
        width = 2 + len(table.labels)
        scaled = table.call == "satisfaction"
        read_timestamp = self.timestamps.read
        known: dict[tuple[object, ...], BoundLabels] = {}
        pending: dict[tuple[int, int, int], tuple[BoundLabels, ImportBuffer, list[_Row]]] = {}
        n = told = waiting = text = 0
        for n, row in enumerate(database.rows(found), 1):
            try:
                moment, written = read_timestamp(row[1])
            except ValueError as error:
                self._report.reject(table.name, row[0], f"timestamp: {error}")
                continue
            labels = row[2:width]
            bound = known.get(labels)
            if bound is None:
                text += sum(len(label) for label in labels if isinstance(label, (str, bytes)))
                if len(known) >= KNOWN or text > KNOWN_TEXT:
                    known.clear()
                    text = 0
                bound = known[labels] = self.bind(table, labels)
                self.cardinality[table.name] += bound.target is not None
            if bound.target is None:
                self._report.reject(table.name, row[0], "; ".join(f"{what}: {why}" for what, why in bound.remarks))
                continue
            # The scale of a score depends on the scores before it, so it is chosen in the order of the rows.
            target = bound.target.buffer_for(row[width]) if scaled else bound.target
            day = moment // MS_PER_DAY
            if written != day:
                self.shifted |= {(target.index, day), (target.index, written)}
            values = row[width:]
            if not _PLAIN.issuperset(map(type, values)):
                values = tuple(value[:_LONGEST] if isinstance(value, (str, bytes)) else value for value in values)
            key = (day, id(target), id(bound) if bound.remarks else 0)
            try:
                pending[key][2].append(_Row(moment, row[0], values))
            except KeyError:
                pending[key] = (bound, target, [_Row(moment, row[0], values)])
            waiting += 1
            if waiting == BATCH:
                self._take(table, pending)
                tick(n - told)
                told, waiting = n, 0
        self._take(table, pending)
        self._report.read[table.name] += n
        database.check(table.name, n)
        tick(n - told)

    def bind(self, table: Table, labels: tuple[object, ...]) -> BoundLabels:
        """Return what a combination of label columns leads to."""
        rejections = self._builder.rejections
        rejections.take()
        try:
            target = self._calls[table.call](*self._arguments(table, labels))
        except RejectedCallError:
            target = None
        return BoundLabels(target, tuple(rejections.take()))

    @staticmethod
    def _arguments(table: Table, labels: tuple[object, ...]) -> tuple[object, ...]:
        # The scale is no column: the satisfaction types' settings and the scores tell it.
        return (*labels, None) if table.call == "satisfaction" else labels

    def _take(
        self, table: Table, pending: dict[tuple[int, int, int], tuple[BoundLabels, ImportBuffer, list[_Row]]]
    ) -> None:
        """Convert, check and store what was read, one series at a time."""
        for (day, *_), (bound, buffer, rows) in pending.items():
            self.first[buffer.index] = min(day, self.first.get(buffer.index, day))
            for row in rows if bound.remarks else ():
                for argument, reason in bound.remarks:
                    self._report.leave_out(table.name, row.rowid, argument, reason)
            self._take_rows(table, day, buffer, rows)
            if isinstance(bound.target, Scales):
                scores = [row.values[0] for row in rows if type(row.values[0]) in _NUMBERS]
                if buffer is bound.target.one:
                    self.scales[bound.target.kind].add("0-1")
                elif buffer is bound.target.five and any(1 <= score <= HIGHEST for score in scores):
                    self.scales[bound.target.kind].add("1-5")
                elif buffer is bound.target.unknown:
                    self.doubtful.add(bound.target.kind)
        pending.clear()
        self._day_files.flush()

    def _take_rows(self, table: Table, day: int, buffer: ImportBuffer, rows: list[_Row]) -> None:
        times = array("q", [row.moment for row in rows])
        kept: set[int] = set()
        reasons: dict[int, list[tuple[str, str]]] = {}
        whole = bool(buffer.rows)
        for index, (argument, raw) in enumerate(self._columns(table, rows, reasons)):
            column = buffer.columns[index]
            values = _all_fit(column, raw)
            if values is not None:
                self._day_files.add(day, buffer.index, index, times, values)
                whole = True
                continue
            fitting, places = array("d"), []
            for place, value in enumerate(raw):
                if value is None:
                    continue
                reason = column.check(value)
                if reason is not None:
                    reasons.setdefault(place, []).append((argument, reason))
                    continue
                fitting.append(column.convert([float(value)])[0] if column.convert else float(value))
                places.append(place)
            if places:
                kept.update(places)
                self._day_files.add(day, buffer.index, index, array("q", map(times.__getitem__, places)), fitting)
        if buffer.rows:
            self._day_files.add(day, buffer.index, ROWS, times, None)
        rejected = () if whole else [place for place in range(len(rows)) if place not in kept]
        for place in rejected:
            why = "; ".join(f"{argument}: {reason}" for argument, reason in reasons.pop(place, ()))
            self._report.reject(table.name, rows[place].rowid, why or "no value at all")
        for place, found in reasons.items():
            for argument, reason in found:
                self._report.leave_out(table.name, rows[place].rowid, argument, reason)
        gone = set(rejected)
        self.spans[day][table.name].add(row.rowid for place, row in enumerate(rows) if place not in gone)

    def _columns(
        self,
        table: Table,
        rows: list[_Row],
        reasons: dict[int, list[tuple[str, str]]],
    ) -> Iterable[tuple[str, list[Any]]]:
        """Return (argument, raw values) of every column of the buffer."""
        columns = [(name, [row.values[at] for row in rows]) for at, name in enumerate(table.values)]
        if table.call != "optimization":
            return columns
        rejections = self._builder.rejections
        changes = []
        for place, (before, after) in enumerate(zip(columns[0][1], columns[1][1], strict=True)):
            changes.append(self._change(before, after))
            if heard := rejections.take():
                reasons.setdefault(place, []).extend(heard)
        return chain(columns[:2], [("after_value", changes)], columns[2:])


def _all_fit(column: ArgumentSpec, raw: list[Any]) -> array[float] | None:
    """Return the values in the base unit if all of them fit, in bulk; otherwise they must be looked at one by one."""
    if not set(map(type, raw)) <= _NUMBERS:
        return None
    try:
        values = array("d", raw)
        if column.convert is not None:
            values = array("d", column.convert(values.tolist()))
    except OverflowError:
        return None
    # A NaN or an infinity anywhere shows in the sum.
    return values if isfinite(sum(values)) and min(values) >= column.low and max(values) <= column.high else None
