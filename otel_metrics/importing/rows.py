"""What of an old database fits, by day."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from otel_metrics.catalogue import DAILY_SQL
from otel_metrics.importing import aggregates
from otel_metrics.importing.day import content_hash, fill, step
from otel_metrics.importing.keepers import Keepers
from otel_metrics.importing.reading import Reader, reject_all
from otel_metrics.importing.spool import Spool
from otel_metrics.importing.timestamps import Timestamps
from otel_metrics.querying.statistics import Values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import tzinfo
    from pathlib import Path

    from otel_metrics.catalogue import DayKey
    from otel_metrics.importing.keepers import NumberSeries
    from otel_metrics.importing.ledger import Ledger
    from otel_metrics.importing.tables import OldDatabase
    from otel_metrics.querying.statistics import Statistics
    from otel_metrics.settings import Scale, Settings

_EPOCH: Final = date(1970, 1, 1)


def date_of(day: int) -> date:
    """Return the date of a day since 1970."""
    return _EPOCH + timedelta(days=day)


class Rows:
    """Everything that fits of an old database, by day. Reading it changes nothing but the ledger and the work folder."""

    def __init__(self, database: OldDatabase, ledger: Ledger, settings: Settings, zone: tzinfo, work: Path) -> None:
        shutil.rmtree(work, ignore_errors=True)
        self.database = database
        self.ledger = ledger
        self.keepers = Keepers(settings)
        self.spool = Spool(work)
        self.reader = Reader(self.keepers, self.spool, ledger, Timestamps(zone))
        self.aggregates: aggregates.Rows = {}
        self._infos: Mapping[DayKey, NumberSeries] = {}

    def read(self, tick: Callable[[int], object]) -> None:
        """Read all tables; ``tick`` is called with numbers of rows."""
        for found in self.database.tables:
            self.reader.read(self.database, found, tick)
        table = self.database.aggregates
        if table and table.unreadable:
            reject_all(self.database, table, self.ledger)
        elif table:
            reader = aggregates.Aggregates(self.keepers, self.ledger, self.reader.scales)
            self.aggregates, self._infos = reader.read(self.database, table), reader.infos
            tick(self.ledger.read[DAILY_SQL])
        self.ledger.flush()

    def days(self) -> list[int]:
        """Return the days that have rows of any kind, in order."""
        return sorted({*self.spool.days(), *self.aggregates})

    def load(self, day: int) -> tuple[str, int]:
        """Put a day's raw rows into the keepers; return its content hash and the seconds between samples."""
        self.keepers.clear()
        parts = self.spool.read(day)
        seconds = step(self.keepers, parts)
        fill(self.keepers, day, parts, seconds)
        for key in self.aggregates.get(day, {}):
            if key in self._infos:
                self._infos[key].slots.setdefault(86_400 // seconds - 1, 1.0)
        whole = blake2b(content_hash(self.keepers, parts).encode(), digest_size=16)
        for text in aggregates.text(self.aggregates.get(day, {})):
            whole.update(text.encode())
        return whole.hexdigest(), seconds

    def statistics(self, day: int) -> tuple[dict[DayKey, Statistics], set[int]]:
        """Return the loaded day's table, and the row ids of old aggregates in it: where raw rows are missing."""
        table = {
            key: Values((values.values,)).statistics() for key, values in self.keepers.days.items() if values.values
        }
        used = set()
        for key, (rowid, known) in self.aggregates.get(day, {}).items():
            if key not in table or table[key].count < known.count:
                table[key] = known
                used.add(rowid)
        return table, used

    def scales(self) -> dict[str, Scale]:
        """Return the scale of every satisfaction type that was on one only."""
        return {kind: next(iter(seen)) for kind, seen in sorted(self.reader.scales.items()) if len(seen) == 1}

    def close(self, work: Path) -> None:
        """Remove the work folder."""
        shutil.rmtree(work, ignore_errors=True)
