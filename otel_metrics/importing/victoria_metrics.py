"""VictoriaMetrics, through its import API: what it is sent, and what of it it has already."""

from __future__ import annotations

from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

import urllib3
from urllib3.exceptions import HTTPError

from otel_metrics.errors import ImportFailedError
from otel_metrics.importing.target import WORK, Target
from otel_metrics.querying.client import Access, PrometheusClient

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from otel_metrics.importing.target import Day
    from otel_metrics.settings import Settings

BATCH: Final = 4 * 2**20
"""Bytes of text that one request carries."""

_PATIENCE: Final = 60.0
"""Seconds that a request may take."""


class _Batch(NamedTuple):
    """Lines for one request, and the last of their samples: selector and unix time."""

    text: bytes
    series: str
    time: float


class VictoriaMetrics(Target):
    """Sends days to a server, each from its first sample to its last. A day whose last sample is there is there.

    VictoriaMetrics stores a sample that it gets twice twice. So it is asked for the last sample of a batch before that is sent.

    Args:
        url: address of the server, to which ``/api/v1/import/prometheus`` is added.
        settings: address to ask, credentials, certificates and timeout, as getters use them.
        folder: where to make our own.
        batch: bytes of text that one request carries.
    """

    retention: ClassVar[str] = "-retentionPeriod"
    kept_days: ClassVar[int] = 31
    forgets: ClassVar[str] = "drops it without a word; --verify tells"

    def __init__(self, url: str, settings: Settings, folder: Path, batch: int = BATCH) -> None:
        super().__init__(folder / WORK)
        self._url = url
        self._batch = batch
        self._access = Access.of(settings)
        self._pool = urllib3.PoolManager(num_pools=1, ssl_context=self._access.trust())
        self._client = PrometheusClient(settings.prometheus_url or url, settings.prometheus_timeout, self._access)

    def recover(self) -> None:
        """Have the server show what an interrupted import has just sent."""
        super().recover()
        self.show()

    def show(self) -> None:
        """Have queries see all that was sent, where the server has a page for that: it shows it bit by bit, within seconds."""
        self._request("GET", "/internal/force_flush")

    def store(self, day: Day) -> bool:
        """Send what the server does not have of a day; return False if it has the day's last sample."""
        with day.file.open("rb") as text:
            (last,) = deque(_batches(text, self._batch), maxlen=1)
        if self._has(last):
            return False
        with day.file.open("rb") as text:
            for batch in _batches(text, self._batch):
                if not self._has(batch):
                    self._send(batch)
        return True

    def _has(self, batch: _Batch) -> bool:
        # An instant query looks back to the sample itself and no further.
        samples, _ = self._client.query(f"last_over_time({batch.series}[1ms])", batch.time)
        return bool(samples)

    def _send(self, batch: _Batch) -> None:
        status, said = self._request("POST", "/api/v1/import/prometheus", batch.text)
        if status not in {HTTPStatus.OK, HTTPStatus.NO_CONTENT}:
            raise ImportFailedError(f"{self._url} rejected the import: HTTP status {status}: {said!r}")

    def _request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
        """Return the status, and the beginning of what the server said."""
        try:
            answer = self._pool.request(
                method,
                self._url + path,
                body=body,
                headers={"Content-Type": "text/plain", **self._access.headers()},
                timeout=urllib3.Timeout(total=_PATIENCE),
                retries=False,  # the same command goes on, and asks first what has arrived
                redirect=False,
            )
        except (HTTPError, OSError) as error:
            raise ImportFailedError(f"{self._url}: {error.__cause__ or error}") from error
        return answer.status, answer.data[:80].decode(errors="replace")


def _batches(text: Iterable[bytes], largest: int) -> Iterator[_Batch]:
    """Yield OpenMetrics text as VictoriaMetrics takes it: without types, times in milliseconds."""
    lines: list[bytes] = []
    size = 0
    head = time = b""
    for line in text:
        if line.startswith(b"#"):
            continue
        head, time = line.rsplit(b" ", 1)
        if lines and size + len(line) > largest:
            yield _batch(lines)
            lines, size = [], 0
        lines.append(b"%s %s" % (head, time.replace(b".", b"")))
        size += len(line)
    if lines:
        yield _batch(lines)


def _batch(lines: list[bytes]) -> _Batch:
    series, _, milliseconds = lines[-1].decode().rsplit(" ", 2)
    return _Batch(b"".join(lines), series, int(milliseconds) / 1000)
