"""What one load of each dashboard reads and takes, of ten features of 200 series each, over a day and over a week.

python -m benchmarks.bench_load [--panels]

Samples that were read and seconds are Prometheus' own statistics of every query of the load, added up; the peak is the greatest of one
query. Recorded series are there as the rules write them. With ``--panels`` every query is listed, the dearest first.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from otel_metrics.assets.dashboards import texts
from tests.assets.history import DAY
from tests.assets.load import Filled, load
from tests.dialects import AT_HAND
from tests.servers import Servers


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, closing(Servers(Path(folder) / "servers")) as servers:
        filled = Filled(Path(folder) / "filled", days=7)
        server = filled.serve(servers)
        for name, text in sorted(texts(AT_HAND).items()):
            for days in (1, 7):
                found = load(server, json.loads(text), days * DAY, filled.end)
                samples, seconds = sum(one.samples for one in found), sum(one.seconds for one in found)
                peak = max((one.peak for one in found), default=0)
                print(
                    f"{name:15} {days} d {len(found):4} queries {samples:12,} samples, at most {peak:9,} at once {seconds:6.2f} s",
                    flush=True,
                )
                if "--panels" in sys.argv:
                    for one in sorted(found, key=lambda each: -each.samples):
                        print(f"    {one.samples:12,} {one.seconds:6.2f} s  {one.panel}")


if __name__ == "__main__":
    main()
