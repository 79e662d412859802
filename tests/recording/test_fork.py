"""Forking while threads record and scrape: no child hangs, whether it leaves by os._exit or through the interpreter, none inherits its parent's totals, the parent loses nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CHILDREN = 300


def test_children_of_a_recording_process() -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", Path(__file__).with_name("forking.py"), str(CHILDREN)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert ran.stdout.splitlines() == [str({"ok": CHILDREN}), "parent True"], ran.stdout + ran.stderr
