"""Whether other processes answer at the same address, so that every scrape shows one of them at random.

The first process that answers at an address holds a socket that is named after it, in the namespace of the system that ports have, too;
it goes with the process. Whoever finds the name taken knows, and tells the holder. Linux only: elsewhere nobody knows.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import socket
import sys
import threading
import time
from hashlib import sha256
from math import inf
from typing import Final

from otel_metrics.forks import Part, renew_after_fork

_logger = logging.getLogger(__name__)

_REMEMBERED: Final = 300.0
"""Seconds after which a process that was not seen again is forgotten, such as one that a reload has replaced."""


_MOST: Final = 8
"""Addresses that are watched: where the client names the server, as on a Unix socket, there is no end of them."""


class _Neighbours:
    """What this process knows of the others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, socket.socket] = {}
        self._seen = -inf
        self._said = False

    def __bool__(self) -> bool:
        return time.monotonic() - self._seen < _REMEMBERED

    def look(self, address: str) -> None:
        """Tell the others that this process is there as well, and learn whether they are."""
        if sys.platform != "linux":
            return
        with self._lock, contextlib.suppress(OSError):  # whatever a sandbox may forbid: nobody knows then
            if self._others(address):
                self._seen = time.monotonic()
        if self and not self._said:
            self._said = True
            _logger.warning(
                "another process answers at %s, too: a scrape shows one of them at random. With OTM_MULTIPROCESS_DIR any of them "
                "answers for all, see docs/workers.md",
                address,
            )

    def _others(self, address: str) -> bool:
        held = self._held.get(address)
        if held is None:
            if len(self._held) >= _MOST:
                self._held.pop(next(iter(self._held))).close()  # the one that was first asked at longest ago
            # An address may be longer than the 107 bytes that a name may have.
            name = f"\0otel_metrics/{os.getuid()}/{sha256(address.encode(errors='surrogateescape')).hexdigest()}"
            held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            try:
                held.bind(name)
            except OSError:
                with held, contextlib.suppress(BlockingIOError):  # it has been told often enough
                    held.sendto(b"", name)
                return True
            self._held[address] = held
        told = False
        with contextlib.suppress(BlockingIOError):
            while True:
                held.recv(1)
                told = True
        return told

    def leave(self, address: str) -> None:
        """Answer there no more: whoever does so next is alone."""
        with self._lock:
            held = self._held.pop(address, None)
            if held is not None:
                held.close()

    def forget(self) -> None:
        """Let go of the sockets: a forked child of those of its parent, a process that ends of its own."""
        for held in self._held.values():
            held.close()
        self.__init__()  # type: ignore[misc]


neighbours: Final = _Neighbours()

renew_after_fork(Part.NEIGHBOURS, neighbours.forget)
atexit.register(neighbours.forget)
