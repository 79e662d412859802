"""Files that were damaged anywhere: nothing is raised, no value is invented, and what is recorded afterwards counts.

``damage.json`` keeps damage that has once been a problem, or nearly; hypothesis looks for more.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import tempfile
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_metrics.multiprocess.totals import SharedTotals
from otel_metrics.multiprocess.values import Day, Exemplar, HistogramValue, Native

Damage = list[list[Any]]
"""[which file, what to do, where (as a part of what is not empty), bytes in hexadecimal] each."""

KEPT: dict[str, Damage] = json.loads((Path(__file__).parent / "damage.json").read_text(encoding="utf-8"))


def fill(directory: Path, amount: int) -> SharedTotals:
    totals = SharedTotals(directory, "shop")
    for i in range(3):
        key = ("duration", str(i))
        native = Native(8, 5 * i, [amount, 0, amount])
        totals.counter(("calls", str(i))).add(amount)
        totals.histogram(key, (1.0, 5.0)).add(
            HistogramValue(2 * amount, 4.0 * amount, 2.0, 2.0, [0, 2 * amount, 0], 0, native)
        )
        totals.exemplars(key).add((Exemplar(1, 2.0, amount, (("trace_id", "0af7"),)),))
        totals.days(("days", str(i))).add((Day(20_000, amount, amount, amount, 1.0, 1.0),))
    totals.gauge(("memory",), "sum").set(1.0)
    totals.flush()
    return totals


def damage(directory: Path, what: Damage) -> None:
    for suffix, action, where, text in what:
        (path,) = directory.glob(f"*.{suffix}")
        data, extra = path.read_bytes(), bytes.fromhex(text)
        places = (
            range(len(data)) if suffix == "keys" else [*range(1000), *range(65_536, len(data))]
        )  # where something is
        at = places[int(where * len(places))] if places else 0
        path.write_bytes(
            {
                "overwrite": data[:at] + extra + data[at + len(extra) :],
                "insert": data[:at] + extra + data[at:],
                "cut": data[:at],
                "append": data + extra,
            }[action]
        )


def amounts(totals: SharedTotals) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = {}
    snapshot = totals.read()
    for metric in snapshot.metrics:
        for sample in snapshot.rows(metric):
            value = sample.value
            if sample.kind == "histogram":
                assert value.n == value.total / 2 == sum(value.buckets) == sum(value.native.counts)
                found[sample.key] = value.n / 2
            elif sample.kind == "days":
                assert value[0].n == value[0].total == value[0].squares
                found[sample.key] = value[0].n
            elif sample.kind == "counter":
                found[sample.key] = value
    return found


def check(what: Damage) -> None:
    directory = Path(tempfile.mkdtemp())
    try:
        fill(directory, 4).close()
        living = fill(directory, 6)
        damage(directory, what)
        # A process that was there before, and one that comes after. What is damaged begins anew.
        assert set(amounts(living).values()) <= {10.0}
        late = fill(directory, 1)
        assert set(amounts(late).values()) <= {11.0, 1.0}
        assert living.flush()
        fill(directory, 2).close()
        final = amounts(late)
        assert len(final) == 9
        assert set(final.values()) <= {13.0, 3.0, 2.0}
        assert len(list(directory.iterdir())) <= 6  # two, two put aside, one per process
    finally:
        shutil.rmtree(directory)


def test_a_row_that_cannot_be_read_is_counted_and_begins_anew(tmp_path: Path) -> None:
    fill(tmp_path, 4).close()
    totals = fill(tmp_path, 6)
    born = {sample.key: sample.born for sample in totals.read().rows("calls")}
    (rows,) = tmp_path.glob("*.totals")
    data = rows.read_bytes()
    rows.write_bytes(data[:65_536] + data[65_536:].replace(struct.pack("<d", 10.0), bytes(8), 1))
    assert not totals.problems
    assert len(amounts(totals)) == 8
    assert totals.problems == {"corrupt_row": 1}
    totals.counter(("calls", "0")).add(1)
    assert totals.flush()
    first, *others = totals.read().rows("calls")
    assert (first.key, first.value) == (("calls", "0"), 1.0)
    assert first.born > born["calls", "0"]
    assert [(other.value, other.born) for other in others] == [(10.0, born[other.key]) for other in others]
    assert totals.problems == {"corrupt_row": 2}  # read once more, and replaced


def test_no_more_is_read_than_there_can_be_rows(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path, "shop", most_bytes=10_000)
    totals.counter(("calls", "order")).add(1)
    totals.gauge(("memory",), "sum").set(3.0)
    assert totals.flush()
    (keys,) = tmp_path.glob("*.keys")
    lines = [json.loads(line[9:]) for line in keys.read_bytes().splitlines()]
    with keys.open("ab") as file:
        for shape in (lines.index(["calls", "counter"]), lines.index(["memory", "gauge", "sum"])):
            line = json.dumps([shape - 1, 1 << 34, "far away"]).encode()
            file.write(b"%08x %s\n" % (zlib.crc32(line), line))
    for path in tmp_path.iterdir():
        os.truncate(path, 1 << 36)
    tracemalloc.start()
    try:
        late = SharedTotals(tmp_path, "shop", most_bytes=10_000)
        late.counter(("calls", "order")).add(1)
        assert late.flush()
        (order,), (memory,) = late.read().rows("calls"), late.read().rows("memory")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (order.value, memory.value) == (2.0, 3.0)
    assert late.problems == {"corrupt_key": 2}
    assert peak < 5_000_000


def test_a_row_larger_than_the_journal_is_no_row(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path, "shop")
    bounds = [float(bound) for bound in range(5000)]
    (keys,) = tmp_path.glob("*.keys")
    with keys.open("ab") as file:
        for content in (["duration", "histogram", bounds, 1 << 16], [0, 0]):
            line = json.dumps(content).encode()
            file.write(b"%08x %s\n" % (zlib.crc32(line), line))
    totals.histogram(("duration",), bounds).add(HistogramValue(1, 2.0, 2.0, 2.0, [0, 0, 0, 1] + [0] * 4997))
    assert totals.flush()
    (duration,) = totals.read().rows("duration")
    assert duration.value.n == 1
    assert totals.problems == {"corrupt_key": 2}


def test_a_journal_writes_nothing_but_rows(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path, "shop")
    totals.counter(("calls", "order")).add(1)
    assert totals.flush()
    (rows,) = tmp_path.glob("*.totals")
    size = rows.stat().st_size
    images = struct.pack("<QI", 1 << 40, 4) + b"evil" + struct.pack("<QI", 1 << 40, 1 << 31) + b"cut short"
    with rows.open("r+b") as file:
        file.seek(32)
        file.write(struct.pack("<II", len(images), zlib.crc32(images)) + images)
    totals.counter(("calls", "order")).add(1)
    assert totals.flush()
    (order,) = totals.read().rows("calls")
    assert order.value == 2.0
    assert rows.stat().st_size == size


places = st.floats(0, 1, exclude_max=True)
some_bytes = st.binary(min_size=1, max_size=40).map(bytes.hex)
one = st.tuples(
    st.sampled_from(["keys", "totals"]), st.sampled_from(["overwrite", "insert", "cut", "append"]), places, some_bytes
)


@settings(deadline=None, max_examples=100)
@given(st.lists(one.map(list), min_size=1, max_size=3))
def test_no_damage_is_fatal(what: Damage) -> None:
    check(what)


@pytest.mark.parametrize("name", KEPT)
def test_no_damage_of_the_corpus_is_fatal(name: str) -> None:
    check(KEPT[name])
