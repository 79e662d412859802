"""What the README promises: its queries answer, and the links of all pages lead somewhere."""

from __future__ import annotations

import math
import re
import sys
from typing import TYPE_CHECKING

import pytest

from otel_metrics.catalogue import DAILY_TABLE
from otel_metrics.forks import Part
from tests.pages import PAGES
from tests.servers import ROOT, Process

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Servers

README = (ROOT / "README.md").read_text(encoding="utf-8")
QUERIES = [
    line.split(" | ")[-1].rstrip(" |").strip("`")
    for line in README.partition("### What a call becomes")[2].partition("\n\nAll metrics")[0].splitlines()
    if line.startswith(("| `", "| the same"))
]
DAILY = QUERIES[-1]


class Example(Process):
    """The example application, serving its metrics until stopped."""

    name = "example"
    ready_path = "/-/healthy"

    def command(self) -> list[str]:
        module = ["-m", "examples.learning_engine", "--serve", "--pause", "0.1"]
        return [sys.executable, *module, "--host", "127.0.0.1", "--port", str(self.port)]


def test_every_query_of_the_table_answers_for_the_real_example(servers: Servers) -> None:
    example = servers._started(Example(servers._new_folder("example")))
    prometheus = servers.prometheus(targets=[example.address])
    prometheus.wait_until_scraped()

    for query in QUERIES[:-1]:
        prometheus.wait_for(query, lambda result: any(math.isfinite(float(row["value"][1])) for row in result))


def test_the_query_of_the_daily_table_asks_for_a_recorded_series(servers: Servers) -> None:
    assert DAILY.removeprefix("last_over_time(").partition("[")[0] in {column.series for column in DAILY_TABLE.values()}
    assert servers.prometheus().query(DAILY) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_exist(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    """Those of the checkout; modules are also named from the package on."""
    homes = (ROOT, ROOT / "otel_metrics")
    named = set(
        re.findall(r"(?<![\w./:~-])[\w.-]+/[\w./-]*\w\.(?:py|md|yml|toml|sh|json)\b", page.read_text(encoding="utf-8"))
    )
    ours = {name for name in named if any((home / name.partition("/")[0]).is_dir() for home in homes)}

    assert {name for name in ours if not any((home / name).exists() for home in (*homes, page.parent))} == set()


def test_the_glossary_is_in_order_and_has_our_words() -> None:
    rows = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").partition("|---|---|\n")[2].splitlines()
    terms = [row.split("|")[1].strip() for row in rows]
    assert terms == sorted(terms)
    assert {"buffer", "fold", "local store", "overflow", "rejected", "shared totals", "sink"} <= set(terms)


def test_the_architecture_page_has_the_floors_and_the_order_of_a_fork() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    layers = project.partition("layers = [")[2].partition("]")[0]
    floors = page.partition("```text\n")[2].partition("```")[0]
    assert set(re.findall(r"\w+", layers)) - set(re.findall(r"\w+", floors)) == set()
    assert re.findall(r"(?m)^ +\d\. `(\w+)`", page) == [part.name for part in Part]
