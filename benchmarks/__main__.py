"""Measures what stands in docs/benchmarks.md: what was asked and found, the peers beside it, then every record call.

    python -m benchmarks [--quick] [--write]

It takes about ten minutes, prints the tables as they come, and with ``--write`` puts them into the page, below its heading
``Measured``, and the README's table of calls into the README. The other benchmarks have figures on other pages: ``python -m benchmarks.NAME``.
"""

from __future__ import annotations

import argparse
import os
import platform
from itertools import chain
from pathlib import Path

import opentelemetry.sdk.version

from benchmarks import bench_record, bench_scrape, bench_scrape_facade, bench_weight, record_report
from benchmarks.asked import HEAD, line, show
from benchmarks.memory import bytes_per_series

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
README = PAGE.parent.parent / "README.md"
MEASURED = "\n## Measured\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the record calls, less exact")
    parser.add_argument("--write", action="store_true", help=f"write the tables to {PAGE.name} and {README.name}")
    arguments = parser.parse_args()
    calls = bench_record.run(quick=arguments.quick)
    memory = bytes_per_series()
    rows = show(
        chain(
            record_report.asked(calls, memory), bench_weight.asked(), bench_scrape_facade.asked(), bench_scrape.asked()
        )
    )
    versions = f"Python {platform.python_version()}, opentelemetry-sdk {opentelemetry.sdk.version.__version__}"
    measured = "\n".join(
        [f"{versions}, {os.cpu_count()} cores.", "", HEAD, *map(line, rows), "", record_report.tables(calls, memory)]
    )
    print(measured)
    if arguments.write:
        prose = PAGE.read_text(encoding="utf-8").partition(MEASURED)[0]
        PAGE.write_text(f"{prose}{MEASURED}\n{measured}", encoding="utf-8")
        before, _, rest = README.read_text(encoding="utf-8").partition(record_report.SUMMARY)
        after = rest.partition("\n\n")[2]
        README.write_text(f"{before}{record_report.summary(calls)}\n\n{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
