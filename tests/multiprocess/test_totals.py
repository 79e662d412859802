"""What the processes of one application see of each other's totals, and what becomes of them when something breaks."""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from otel_metrics.errors import ConfigurationError
from otel_metrics.multiprocess.totals import SharedTotals
from otel_metrics.multiprocess.values import COUNTER, Day, Exemplar, HistogramValue, Latest, Native
from tests.multiprocess.interrupting import interrupted

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_metrics.multiprocess.totals import Sample

HERE = Path(__file__).parent


def in_child(work: Callable[[], Any]) -> Any:
    """Return what ``work`` returns in a forked child, which ends without any clean-up."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(send, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    assert answer, "the child failed"
    return json.loads(answer)


def values(totals: SharedTotals, metric: str) -> dict[tuple[str, ...], Any]:
    return {sample.key[1:]: sample.value for sample in totals.read().rows(metric)}


def only(totals: SharedTotals, metric: str) -> Sample:
    (sample,) = totals.read().rows(metric)
    return sample


def another(directory: Path, *amounts: float) -> None:
    """Add to the counter of most tests in a process that ends at once."""

    def work() -> bool:
        totals = SharedTotals(directory, "shop")
        for amount in amounts:
            totals.counter(("calls", "order")).add(amount)
        return totals.flush()

    assert in_child(work) is True


# ---------------------------------------------------------------------------------------------------- several processes
def test_counters_of_all_processes_are_added(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path, "shop")
    totals.counter(("calls", "order")).add(2)
    totals.counter(("calls", "pay")).add(1)
    assert totals.flush()
    another(tmp_path, 3, 4)
    another(tmp_path, 5)
    assert values(totals, "calls") == {("order",): 14.0, ("pay",): 1.0}
    assert not totals.problems


def test_what_is_not_flushed_is_not_seen(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path, "shop")
    totals.counter(("calls", "order")).add(2)
    assert values(totals, "calls") == {}


def test_histograms_days_exemplars_and_newest_values_are_added(tmp_path: Path) -> None:
    def work(time_unix_nano: int, offset: int) -> bool:
        totals = SharedTotals(tmp_path, "shop")
        key = ("duration", "order")
        native = Native(8, offset, [1, 0, 2])
        totals.histogram(key, (1.0, 5.0)).add(HistogramValue(3, 7.5, 0.5, 4.0, [1, 2, 0], 0, native))
        totals.exemplars(key).add((Exemplar(1, 4.0, time_unix_nano, (("trace_id", "0af7"),)),))
        totals.days(("days", "order")).add((Day(20_000, 2, 3.0, 5.0, 1.0, 2.0),))
        totals.latest(("threshold",)).add(Latest(time_unix_nano, float(offset)))
        return totals.flush()

    assert in_child(lambda: work(2000, 3))
    assert in_child(lambda: work(1000, 900))
    totals = SharedTotals(tmp_path, "shop")
    sample = only(totals, "duration")
    value = sample.value
    assert (value.n, value.total, value.low, value.high, list(value.buckets)) == (6, 15.0, 0.5, 4.0, [2, 4, 0])
    assert sum(value.native.counts) == 6
    assert value.native.scale == 7  # 900 buckets are too many at scale 8
    assert sample.exemplars == (Exemplar(1, 4.0, 2000, (("trace_id", "0af7"),)),)
    assert only(totals, "days").value == (Day(20_000, 4, 6.0, 10.0, 1.0, 2.0),)
    assert only(totals, "threshold").value == Latest(2000, 3.0)


def test_a_histogram_whose_buckets_do_not_agree_is_left_out_and_counted(tmp_path: Path) -> None:
    one, two = SharedTotals(tmp_path, "shop"), SharedTotals(tmp_path, "shop")
    one.histogram(("duration",), (1.0,)).add(HistogramValue(1, 0.5, 0.5, 0.5, [1, 0]))
    two.histogram(("duration",), (2.0,)).add(HistogramValue(1, 0.5, 0.5, 0.5, [1, 0]))
    assert one.flush()
    assert two.flush()
    assert only(two, "duration").value.n == 1
    assert two.problems == {"other_buckets": 1}


def test_what_cannot_be_stored_does_not_keep_others_waiting(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path, "shop")
    totals.histogram(("duration",), (1.0,)).add(HistogramValue(1, 0.5, 0.5, 0.5, [1, 0, 0, 0]))
    totals.counter(("calls",)).add(1)
    assert totals.flush()
    assert totals.flush()
    assert totals.read().metrics == ["duration", "calls"]
    assert values(totals, "duration") == {}
    assert values(totals, "calls") == {(): 1.0}
    assert totals.problems == {"not_storable": 1}


def test_every_series_has_the_start_of_its_first_value(tmp_path: Path) -> None:
    before = time.time_ns()
    another(tmp_path, 1)
    after = time.time_ns()
    totals = SharedTotals(tmp_path, "shop")
    totals.counter(("calls", "order")).add(1)
    totals.flush()
    assert before <= only(totals, "calls").born <= after


def test_one_identity_for_all_also_after_a_restart(tmp_path: Path) -> None:
    def identity() -> str:
        return SharedTotals(tmp_path, "shop").read().instance_id

    assert in_child(identity) == in_child(identity) == identity()
    assert in_child(identity) != SharedTotals(tmp_path / "other", "shop").read().instance_id


def test_threads_of_one_process_add_exactly(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path, "shop")
    counter = totals.counter(("calls", "order"))

    def work() -> None:
        for i in range(500):
            counter.add(1)
            if i % 50 == 0:
                totals.flush()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    totals.flush()
    assert values(totals, "calls") == {("order",): 4000.0}


# ------------------------------------------------------------------------------------------------------------ gauges
def test_gauges_are_those_of_living_processes(tmp_path: Path) -> None:
    one, two = SharedTotals(tmp_path, "shop"), SharedTotals(tmp_path, "shop")
    for mode in ("sum", "max", "min", "mean"):
        one.gauge(("memory", mode), mode).set(1.0)
        two.gauge(("memory", mode), mode).set(4.0)
    assert one.flush()
    assert two.flush()
    assert values(one, "memory") == {("sum",): 5.0, ("max",): 4.0, ("min",): 1.0, ("mean",): 2.5}
    assert one.read().processes == 2
    two.close()
    assert values(one, "memory") == {("sum",): 1.0, ("max",): 1.0, ("min",): 1.0, ("mean",): 1.0}
    assert one.read().processes == 1


def test_the_gauges_of_a_killed_process_are_gone_with_its_file(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path, "shop")

    def work() -> bool:
        child = SharedTotals(tmp_path, "shop")
        child.gauge(("memory",), "sum").set(7.0)
        return child.flush()

    assert in_child(work)
    assert len(list(tmp_path.glob("*.process"))) == 2
    assert values(totals, "memory") == {}
    assert len(list(tmp_path.glob("*.process"))) == 1


def test_a_child_that_never_records_does_not_keep_the_gauges_of_its_parent(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path, "shop")
    totals.gauge(("memory",), "sum").set(7.0)
    assert totals.flush()
    hold, held = os.pipe()
    child = os.fork()
    if child == 0:
        totals.after_fork_in_child()
        os.close(held)
        os.read(hold, 1)
        os._exit(0)
    del totals  # as if the parent had died
    gc.collect()
    try:
        other = SharedTotals(tmp_path, "shop")
        deadline = time.monotonic() + 120
        while other.read().processes != 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert values(other, "memory") == {}
    finally:
        os.close(held)
        os.close(hold)
        os.waitpid(child, 0)


# ------------------------------------------------------------------------------------------------------------- forks
def test_a_forked_child_begins_with_nothing_pending_and_shares_the_rest(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path, "shop")
    counter = totals.counter(("calls", "order"))
    counter.add(1)
    assert totals.flush()
    counter.add(10)  # pending

    def work() -> bool:  # without any hook, as after a fork in C
        counter.add(100)
        return totals.flush()

    assert in_child(work)
    assert values(totals, "calls") == {("order",): 101.0}
    assert totals.flush()
    assert values(totals, "calls") == {("order",): 111.0}
    assert totals.read().processes == 1


def test_threads_of_a_child_that_begin_at_once_begin_anew_once(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path, "shop")
    counter = totals.counter(("calls", "order"))
    counter.add(1000)  # pending

    def work() -> bool:
        sys.setswitchinterval(1e-6)
        together = threading.Barrier(8)

        def add() -> None:
            together.wait()
            counter.add(1)

        threads = [threading.Thread(target=add) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return totals.flush()

    for _ in range(20):
        assert in_child(work)
    assert values(totals, "calls") == {("order",): 160.0}


def test_a_child_forked_while_locks_are_held_does_not_hang(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path, "shop")
    counter = totals.counter(("calls", "order"))
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with totals._lock, totals._files_lock:
            entered.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait()

    def work() -> bool:
        signal.alarm(20)
        counter.add(1)
        return totals.flush()

    try:
        assert in_child(work)
    finally:
        leave.set()
        thread.join()


# ------------------------------------------------------------------------------------------------------------ faults
def test_two_applications_in_one_directory_are_told_apart(tmp_path: Path) -> None:
    SharedTotals(tmp_path, "shop").close()
    with pytest.raises(ConfigurationError, match="belongs to the application 'shop', not to 'warehouse'"):
        SharedTotals(tmp_path, "warehouse")
    with pytest.raises(ConfigurationError, match="a directory of its own"):
        SharedTotals(tmp_path, "warehouse", schema="another release")


def test_releases_side_by_side_share_nothing(tmp_path: Path) -> None:
    old, new = SharedTotals(tmp_path, "shop", schema="1"), SharedTotals(tmp_path, "shop", schema="2")
    old.counter(("calls",)).add(1)
    new.counter(("calls",)).add(2)
    assert old.flush()
    assert new.flush()
    assert values(old, "calls") == {(): 1.0}
    assert values(new, "calls") == {(): 2.0}
    assert old.read().instance_id != new.read().instance_id


def age(directory: Path, hours: float) -> None:
    for path in directory.glob("*"):
        os.utime(path, (time.time() - hours * 3600,) * 2)


def test_an_abandoned_epoch_is_over_after_two_days_and_an_hour(tmp_path: Path) -> None:
    another(tmp_path, 1)
    first = SharedTotals(tmp_path, "shop")
    first.close()
    identity = first.read().instance_id
    first.close()
    age(tmp_path, 48.9)
    second = SharedTotals(tmp_path, "shop")
    assert second.read().instance_id == identity
    age(tmp_path, 49.1)  # somebody lives there
    assert SharedTotals(tmp_path, "shop").read().instance_id == identity
    second.close()
    age(tmp_path, 49.1)
    third = SharedTotals(tmp_path, "shop")
    assert third.read().instance_id != identity
    assert values(third, "calls") == {}


def test_a_clock_in_the_past_does_not_end_an_epoch(tmp_path: Path) -> None:
    another(tmp_path, 1)
    age(tmp_path, -1000)
    assert values(SharedTotals(tmp_path, "shop"), "calls") == {("order",): 1.0}


def test_what_is_added_after_the_end_is_shared_and_leaves_no_file_behind(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path, "shop")
    totals.counter(("calls",)).add(1)
    totals.close()
    totals.counter(("calls",)).add(2)
    assert totals.flush()
    assert not list(tmp_path.glob("*.process"))
    assert only(totals, "calls").value == 3.0


def test_hundreds_of_recycled_processes_leave_a_handful_of_files(tmp_path: Path) -> None:
    for _ in range(200):
        another(tmp_path, 1)
    totals = SharedTotals(tmp_path, "shop")
    assert values(totals, "calls") == {("order",): 200.0}
    assert totals.read().processes == 1
    assert len(list(tmp_path.iterdir())) == 3
    assert sum(path.stat().st_size for path in tmp_path.glob("*")) < 70_000


def test_only_the_owner_may_read_and_write(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path / "made" / "here", "shop")
    totals.flush()
    assert stat.S_IMODE((tmp_path / "made" / "here").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "made" / "here").iterdir()} == {0o600}


def test_a_directory_that_is_none_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "in" / "it"):
        with pytest.raises(ConfigurationError) as raised:
            SharedTotals(path, "shop")
        assert str(raised.value) == (
            f"multiprocess_directory='{path}' cannot be used: {tmp_path / 'file'} is not a directory; "
            "name one, or a path where there is nothing yet: it will be made"
        )
    assert (tmp_path / "file").read_text() == "mine"


def test_a_directory_that_can_never_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    """As one on a read-only file system: whoever starts the process is told at once, as it does not pass by itself."""
    path = tmp_path / ("a" * 300)
    with pytest.raises(
        ConfigurationError, match=f"^multiprocess_directory='{path}' cannot be used: File name too long"
    ):
        SharedTotals(path, "shop")


def test_a_link_in_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path / "state", "shop")
    totals.close()
    (keys,) = (tmp_path / "state").glob("*.keys")
    target = keys.rename(tmp_path / "elsewhere")
    keys.symlink_to(target)
    before = target.read_bytes()
    broken = SharedTotals(tmp_path / "state", "shop")
    assert not broken.flush()
    assert target.read_bytes() == before


def test_a_directory_that_vanishes_is_made_again(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    totals, other = SharedTotals(directory, "shop"), SharedTotals(directory, "shop")
    totals.counter(("calls", "order")).add(1)
    totals.gauge(("memory",), "sum").set(3.0)
    assert totals.flush()
    identity = totals.read().instance_id
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    totals.counter(("calls", "order")).add(5)
    assert totals.flush()
    other.counter(("calls", "order")).add(2)
    assert other.flush()
    assert values(other, "calls") == {("order",): 7.0}
    assert values(other, "memory") == {(): 3.0}
    assert other.read().instance_id == totals.read().instance_id != identity
    assert totals.problems == {"replaced": 1}


def test_files_that_are_not_ours_are_put_aside(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path, "shop")
    totals.close()
    (keys,) = tmp_path.glob("*.keys")
    keys.write_bytes(b"precious\n")
    again = SharedTotals(tmp_path, "shop")
    again.counter(("calls",)).add(1)
    assert again.flush()
    assert values(again, "calls") == {(): 1.0}
    assert again.problems == {"corrupt_file": 1}
    assert keys.with_name(f"{keys.name}.corrupt").read_bytes() == b"precious\n"


def test_rows_that_are_cut_off_end_the_epoch(tmp_path: Path) -> None:
    """A counter that began at zero again under the same identity would have gone back."""
    totals = SharedTotals(tmp_path, "shop")
    for name in ("a", "b"):
        totals.counter(("calls", name)).add(5)
    assert totals.flush()
    identity = totals.read().instance_id
    (rows,) = tmp_path.glob("*.totals")
    os.truncate(rows, rows.stat().st_size - 64)
    totals.counter(("calls", "b")).add(1)
    assert totals.flush()
    assert values(totals, "calls") == {("b",): 1.0}
    assert totals.read().instance_id != identity
    assert totals.problems == {"replaced": 1, "corrupt_file": 1}


def test_series_beyond_the_bound_are_left_out_and_counted(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path, "shop", most_bytes=3 * 204)
    for i in range(5):
        totals.days(("days", str(i))).add((Day(20_000, 1, 1.0, 1.0, 1.0, 1.0),))
    assert totals.flush()
    assert len(values(totals, "days")) == 3
    assert totals.problems == {"no_room": 2}
    (rows,) = tmp_path.glob("*.totals")
    assert rows.stat().st_size == 65_536 + 3 * 204


def test_the_number_of_gauges_is_bounded_as_well(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path, "shop", most_bytes=1000)
    for i in range(100):
        totals.gauge(("memory", str(i)), "max").set(1.0)
    assert totals.flush()
    assert 10 < len(values(totals, "memory")) < 90
    assert totals.problems["no_room"] == 100 - len(values(totals, "memory"))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 65_536 + 4000


def test_rows_made_while_a_snapshot_is_read_are_no_damage(tmp_path: Path) -> None:
    totals, other = SharedTotals(tmp_path, "shop"), SharedTotals(tmp_path, "shop")
    totals.counter(("calls", "order")).add(1)
    assert totals.flush()
    snapshot = totals.read()
    other.counter(("calls", "pay")).add(2)
    assert other.flush()
    files, _ = totals._join()
    with files.locked():
        pass  # this process learns of the row
    assert [sample.value for sample in snapshot.rows("calls")] == [1.0, 2.0]
    with files.locked():
        files.add_rows([(("calls", "unwritten"), COUNTER)])
    assert [sample.value for sample in snapshot.rows("calls")] == [1.0, 2.0]
    assert not totals.problems


def test_a_histogram_that_finds_no_more_room_stays_as_it_is(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path, "shop", most_bytes=500)
    row = totals.histogram(("duration",), (1.0,))
    row.add(HistogramValue(1, 2.0, 2.0, 2.0, [0, 1], 0, Native(8, 256, [1])))
    assert totals.flush()
    row.add(HistogramValue(1, 4.0, 4.0, 4.0, [0, 1], 0, Native(8, 512, [1])))
    assert totals.flush()
    assert only(totals, "duration").value.n == 1
    assert totals.problems == {"no_room": 1}


FULL_DISK = """
import json, resource, sys
from otel_metrics.multiprocess.totals import SharedTotals
totals = SharedTotals(sys.argv[1], "shop")
limit, unlimited = int(sys.argv[2]), resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited[1]))  # writing beyond is an error, as on a full disk
rows = [totals.counter(("calls", str(i))) for i in range(100)]
flushed = []
for _ in range(3):
    for row in rows: row.add(1)
    flushed.append(totals.flush())
seen = [sample.value for sample in totals.read().rows("calls")]
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
flushed.append(totals.flush())
print(json.dumps([flushed, seen, [sample.value for sample in totals.read().rows("calls")], dict(totals.problems)]))
"""


@pytest.mark.parametrize("limit", [150, 65_536, 66_000, 66_816, 67_000, 67_535])
def test_a_full_disk_delays_and_loses_nothing(tmp_path: Path, limit: int) -> None:
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), str(limit)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert result.stderr == ""
    flushed, seen, final, problems = json.loads(result.stdout)
    assert flushed == [False, False, False, True]
    assert set(seen) <= {1.0, 2.0, 3.0}
    assert final == [3.0] * 100
    assert problems == {"disk_full": 3}


def test_a_disk_that_is_full_from_the_start_leaves_a_process_alone(tmp_path: Path) -> None:
    def work() -> list[object]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        totals = SharedTotals(tmp_path, "shop")
        totals.counter(("calls", "order")).add(4)
        totals.gauge(("memory",), "sum").set(2.0)
        flushed = totals.flush()
        snapshot = totals.read()
        return [
            flushed,
            {metric: [sample.value for sample in snapshot.rows(metric)] for metric in snapshot.metrics},
            snapshot.processes,
            dict(totals.problems),
        ]

    assert in_child(work) == [False, {"calls": [4], "memory": [2.0]}, 1, {"disk_full": 3}]
    another(tmp_path, 1)
    assert values(SharedTotals(tmp_path, "shop"), "calls") == {("order",): 1.0}


def test_a_process_stopped_with_the_lock_delays_others_and_stops_nobody(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path, "shop")
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        files, _ = SharedTotals(tmp_path, "shop")._join()
        with files.locked():
            os.write(tell, b"x")
            signal.pause()
        os._exit(0)
    try:
        os.read(ready, 1)
        os.kill(child, signal.SIGSTOP)
        totals.counter(("calls", "order")).add(1)
        assert not totals.flush()  # comes back, although the other one never lets go
        assert values(totals, "calls") == {}
        assert totals.problems == {"busy": 1}
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert totals.flush()  # the kernel has freed the lock
    assert values(totals, "calls") == {("order",): 1.0}


# Of what of the standard library was interrupted.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.timeout(method="thread")
def test_a_flush_that_is_interrupted_at_any_moment_loses_and_doubles_nothing(tmp_path: Path) -> None:
    totals, other = SharedTotals(tmp_path, "shop"), SharedTotals(tmp_path, "shop")
    counters = [totals.counter(("calls", str(i))) for i in range(100)]

    def record() -> None:
        for counter in counters:
            counter.add(1)

    assert interrupted(200, record, totals.flush) > 10
    assert totals.flush()
    assert set(values(totals, "calls").values()) == {200.0}
    other.counter(("calls", "0")).add(1)
    assert other.flush()  # no lock is left behind
    assert not totals.problems


def test_a_signal_handler_that_flushes_and_reads_in_between_loses_and_doubles_nothing(tmp_path: Path) -> None:
    totals, other = SharedTotals(tmp_path, "shop"), SharedTotals(tmp_path, "shop")
    counters = [totals.counter(("calls", str(i))) for i in range(100)]
    handled = 0

    def handle(*_: object) -> None:
        nonlocal handled
        counters[handled % 100].add(1)
        handled += 1
        totals.flush()
        assert sum(values(totals, "calls").values()) <= handled + rounds * 100

    rounds = 0
    before = signal.signal(signal.SIGALRM, handle)
    try:
        for rounds in range(1, 301):
            for counter in counters:
                counter.add(1)
            other.counter(("calls", "0")).add(0)
            signal.setitimer(signal.ITIMER_REAL, 0.00001 * (rounds % 200 + 1))
            totals.flush()
            signal.setitimer(signal.ITIMER_REAL, 0)
            other.flush()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert handled > 10
    assert totals.flush()
    assert sum(values(totals, "calls").values()) == 300 * 100 + handled
    assert not totals.problems


def test_a_child_that_is_forked_while_others_are_kept_from_joining_keeps_nobody_out(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path, "shop")
    go_on, hold = os.pipe()
    with totals._directory._locked():
        child = os.fork()
        if child == 0:
            try:
                os.close(hold)
                os.read(go_on, 1)
            finally:
                os._exit(0)
    try:
        assert not SharedTotals(tmp_path, "shop").problems
    finally:
        os.close(hold)
        os.close(go_on)
        os.waitpid(child, 0)


# ------------------------------------------------------------------------------------------------------ torn writes
def test_a_writer_that_is_killed_at_any_byte_leaves_the_old_value_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    totals = SharedTotals(tmp_path, "shop")
    row = totals.histogram(("duration",), (1.0, 5.0))
    one = HistogramValue(1, 2.0, 2.0, 2.0, [0, 1, 0], 0, Native(0, 0, [1]))
    for _ in range(3):
        row.add(one)
        totals.flush()
    (rows,) = tmp_path.glob("*.totals")
    before = rows.read_bytes()
    written: list[tuple[int, int]] = []
    pwrite = os.pwrite

    def watched(descriptor: int, data: bytes, at: int) -> int:
        written.extend(enumerate(data, at))
        return pwrite(descriptor, data, at)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", watched)
        row.add(one)
        totals.flush()
    journal = next(at for at in range(1, len(written)) if written[at][0] >= 65_536)  # its bytes come first
    image = bytearray(before)
    seen = set()
    for done, (at, byte) in enumerate([*written, (0, before[0])]):
        rows.write_bytes(image)
        value = only(totals, "duration").value
        assert value.n == value.total / 2 == sum(value.buckets) == sum(value.native.counts)
        seen.add((value.n, done >= journal))
        assert value.n == 3 or done >= journal
        rows.write_bytes(image)
        row.add(one)  # the next writer goes on from what the journal says, if that is whole
        totals.flush()
        assert only(totals, "duration").value.n in ({5} if done >= journal else {4, 5})
        image[at] = byte
    assert seen == {(3, False), (3, True), (4, True)}
    assert not totals.problems


def test_a_row_that_was_being_written_when_it_was_read_is_read_again(tmp_path: Path) -> None:
    totals, other = SharedTotals(tmp_path, "shop"), SharedTotals(tmp_path, "shop")
    for each in (totals, other):
        each.counter(("calls",)).add(1)
        assert each.flush()
    files, _ = totals._join()
    (place,) = files.metrics["calls"].values()
    torn = bytearray(files.snapshot())
    torn[place.offset + 15] ^= 0xFF
    other.counter(("calls",)).add(1)
    assert other.flush()
    (stored,) = files.values(bytes(torn), [place])
    assert stored is not None
    assert stored[0] == 3.0
    assert not totals.problems


def test_more_rows_at_once_than_the_journal_has_room_for(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path, "shop")
    wide = HistogramValue(640, 640.0, 1.0, 1.0, [0, 640], 0, Native(8, 0, [2**40] * 640))
    rows = [totals.histogram(("duration", str(i)), (1.0,)) for i in range(30)]
    for _ in range(2):
        for row in rows:
            row.add(wide)
        assert totals.flush()
    assert [value.native.counts[639] for value in values(totals, "duration").values()] == [2**41] * 30
    assert not totals.problems


def test_what_cannot_be_added_does_not_hinder_more_rows_than_the_journal_has_room_for(tmp_path: Path) -> None:
    wide = HistogramValue(640, 640.0, 1.0, 1.0, [0, 640], 0, Native(8, 0, [2**40] * 640))
    other, totals = SharedTotals(tmp_path, "shop"), SharedTotals(tmp_path, "shop")
    other.histogram(("duration", "of others"), (2.0,)).add(wide)
    assert other.flush()
    rows = [totals.histogram(("duration", name), (1.0,)) for name in ("of others", *map(str, range(30)))]
    huge = totals.histogram(("size",), (1.0,))
    for _ in range(2):
        for row in rows:
            row.add(wide)
        huge.add(HistogramValue(2**70, 1.0, 1.0, 1.0, [0, 2**70]))
        assert totals.flush()
    assert [value.n for value in values(totals, "duration").values()] == [640] + [1280] * 30
    assert totals.problems == {"other_buckets": 2, "not_storable": 2}


def test_a_killed_move_to_a_larger_row_loses_nothing(tmp_path: Path) -> None:
    totals = SharedTotals(tmp_path, "shop")
    row = totals.histogram(("duration",), (1.0,))
    row.add(HistogramValue(1, 2.0, 2.0, 2.0, [0, 1], 0, Native(8, 256, [1])))
    assert totals.flush()
    (rows,) = tmp_path.glob("*.totals")
    before = rows.read_bytes()
    row.add(HistogramValue(1, 4.0, 4.0, 4.0, [0, 1], 0, Native(8, 512, [1])))
    assert totals.flush()
    # The key of the larger row has been written, and nothing else.
    rows.write_bytes(before.ljust(rows.stat().st_size, b"\0"))
    other = SharedTotals(tmp_path, "shop")
    assert only(other, "duration").value.n == 1
    other.histogram(("duration",), (1.0,)).add(HistogramValue(1, 2.0, 2.0, 2.0, [0, 1], 0, Native(8, 256, [1])))
    assert other.flush()
    value = only(other, "duration").value
    assert (value.n, value.total, list(value.buckets), value.native[:2], list(value.native.counts)) == (
        2,
        4.0,
        [0, 2],
        (8, 256),
        [2],
    )


def test_a_key_that_was_cut_short_is_overwritten(tmp_path: Path) -> None:
    another(tmp_path, 1)
    (keys,) = tmp_path.glob("*.keys")
    with keys.open("ab") as file:
        file.write(b"3f2a1b00 [0,96,")
    totals = SharedTotals(tmp_path, "shop")
    totals.counter(("calls", "pay")).add(2)
    assert totals.flush()
    assert (
        values(totals, "calls") == values(SharedTotals(tmp_path, "shop"), "calls") == {("order",): 1.0, ("pay",): 2.0}
    )
    assert not totals.problems
    assert b"3f2a1b00" not in keys.read_bytes()


def test_writers_killed_at_any_moment_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(HERE / "killing.py"), str(tmp_path), "200"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    found = json.loads(result.stdout)
    assert result.stderr == ""
    assert found["torn"] == found["backwards"] == 0
    assert found["killed"] >= 200
    assert found["rows"] == 300
    assert found["acknowledged"] <= found["least"]
    # What a writer had written and could not acknowledge any more is one round at most.
    assert found["most"] <= found["acknowledged"] + found["killed"]
    assert found["processes"] == 1
    assert found["living"] == []
    assert found["files"] == 3
    assert found["problems"] == []
