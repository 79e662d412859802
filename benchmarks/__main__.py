"""Runs every benchmark, each in a process of its own: ``python -m benchmarks [NAME...]``.

``bench_record`` and the others write what they print as JSON too, where they say so, below ``.cache/benchmarks``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> None:
    here = Path(__file__).parent
    names = sys.argv[1:] or sorted(path.stem for path in here.glob("bench_*.py"))
    for name in names:
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=here.parent, check=True)


if __name__ == "__main__":
    main()
