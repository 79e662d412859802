"""The shipped recording rules over the past, by a real Prometheus and promtool's backfilling."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

import yaml

from tests.servers import promtool

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Prometheus


def backfill(server: Prometheus, rules: Path, start: float, end: float, folder: Path) -> None:
    """Evaluate the recording rules of a file from ``start`` to ``end``, each at the times that a server would.

    promtool evaluates at the offset that Prometheus gives a group. It does not show a rule what another one has recorded, so
    rules that read others come in a later turn, after the server has loaded the blocks.
    """
    file = folder / rules.name  # one name for all turns: the offset depends on it
    for turn, groups in enumerate(_turns(yaml.safe_load(rules.read_text(encoding="utf-8"))["groups"])):
        out = folder / f"blocks-{turn}"
        file.write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
        done = promtool(
            "tsdb", "create-blocks-from", "rules", f"--url={server.url}", f"--start={start:.0f}", f"--end={end:.0f}",
            f"--output-dir={out}", file,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert 'msg="failed' not in done.stderr, done.stderr
        server.stop()
        for block in out.iterdir() if out.exists() else ():
            shutil.move(block, server.data / block.name)
        server.start()


def _turns(groups: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The groups cut into turns: a rule comes after all rules whose results its expression reads."""
    rules = [rule for group in groups for rule in group["rules"]]
    names = {rule["record"] for rule in rules}
    needs = {
        name: {word for rule in rules if rule["record"] == name for word in re.findall(r"[\w:]+", rule["expr"])} & names
        for name in names
    }
    turn: dict[str, int] = {}
    while len(turn) < len(names):
        ready = [name for name in names if name not in turn and needs[name] <= turn.keys()]
        assert ready, "rules read each other in a circle"
        turn.update({name: max((turn[need] + 1 for need in needs[name]), default=0) for name in ready})
    return [
        [
            {**group, "rules": [rule for rule in group["rules"] if turn[rule["record"]] == number]}
            for group in groups
            if any(turn[rule["record"]] == number for rule in group["rules"])
        ]
        for number in range(max(turn.values()) + 1)
    ]
