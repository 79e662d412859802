"""The version of the installed distribution."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

try:
    __version__: Final[str] = version("otel-metrics-bridge")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"  # type: ignore[misc]
