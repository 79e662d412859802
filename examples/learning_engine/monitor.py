"""Watches what the process uses: processor, memory, disk and the fill of its cache."""

from __future__ import annotations

import os
import shutil
import sysconfig
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from examples.learning_engine.learning import FEATURE
from otel_metrics import get_advanced_metrics

if TYPE_CHECKING:
    from examples.learning_engine.reader import DocumentCache

_MB: Final = 1e6


class Monitor(threading.Thread):
    """Takes a sample every ``interval`` seconds, and one at the end: of the time since the one before."""

    def __init__(self, cache: DocumentCache, interval: float = 0.5) -> None:
        super().__init__(name="monitor", daemon=True)
        self._cache = cache
        self._interval = interval
        self._ended = threading.Event()
        self._metrics = get_advanced_metrics()
        self._processor, self._wall = time.process_time(), time.monotonic()

    def run(self) -> None:
        """Sample until :meth:`close`."""
        while not self._ended.wait(self._interval):
            self.sample()
        self.sample()

    def close(self) -> None:
        """Take the last sample and end the thread."""
        self._ended.set()
        self.join()

    def sample(self) -> None:
        """Record what is in use now."""
        processor, wall = time.process_time(), time.monotonic()
        used, passed = processor - self._processor, wall - self._wall
        self._processor, self._wall = processor, wall
        percent = min(100.0, 100 * used / passed / (os.cpu_count() or 1))
        resident = _resident_bytes()
        self._metrics.record_performance_metric(
            FEATURE, "cpu_usage", "process_cpu_percent", percent, unit="percent", context="production"
        )
        self._metrics.record_performance_metric(
            FEATURE, "memory_usage", "resident_mb", resident / _MB, unit="MB", context="production"
        )
        self._metrics.record_resource_utilization("cpu", "process", percent)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self._size("memory", "process", memory, resident)
        disk = shutil.disk_usage(sysconfig.get_path("stdlib"))
        self._size("disk", "standard_library", disk.total, disk.used)
        kept = len(self._cache)
        self._metrics.record_resource_utilization(
            resource_type="cache",
            resource_name="learning_engine_cache",
            utilization_percent=100 * kept / self._cache.capacity,
            allocated=float(self._cache.capacity),
            used=float(kept),
            unit="files",
        )

    def _size(self, kind: str, name: str, allocated: float, used: float) -> None:
        self._metrics.record_resource_utilization(
            resource_type=kind,
            resource_name=name,
            utilization_percent=100 * used / allocated,
            allocated=allocated / _MB,
            used=used / _MB,
            unit="MB",
        )


def _resident_bytes() -> float:
    """Return the memory that the process occupies: now on Linux, at most so far elsewhere."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        import resource  # POSIX only

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    return pages * float(os.sysconf("SC_PAGE_SIZE"))
