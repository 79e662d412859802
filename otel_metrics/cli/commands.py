"""The subcommands. To add one: a module with ``add(commands)``, which sets the parser's ``run``, and a name in this list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.cli import compare, daily, dashboard, demo, import_, render, serve, stack

if TYPE_CHECKING:
    from types import ModuleType

COMMANDS: Final[tuple[ModuleType, ...]] = (demo, dashboard, daily, import_, compare, serve, stack, render)
