"""Blocks and functions that record themselves: one use each, with its duration and its outcome, however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import assert_type

from otel_metrics import AdvancedMetrics, InvalidArgumentError, testing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator

USES = "feature_usage_total"
SECONDS = "feature_usage_duration_seconds_sum"


class Timer:
    """A timer that is told how long something takes."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def takes(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def timer() -> Timer:
    return Timer()


@pytest.fixture
def metrics(timer: Timer) -> Iterator[testing.Recording]:
    with testing.recording(timer=timer) as recording:
        yield recording


def test_a_block_is_one_use_with_its_duration(metrics: testing.Recording, timer: Timer) -> None:
    with metrics.advanced.track("search", "query", "evening") as use:
        timer.takes(0.25)

    assert use.duration_ms == 250
    assert metrics.value(USES) == metrics.value(USES, action="query", outcome="success", context="evening") == 1
    assert metrics.value(SECONDS, action="query", outcome="success") == 0.25


def test_an_exception_is_a_failure_and_goes_on(metrics: testing.Recording, timer: Timer) -> None:
    def query() -> None:
        with metrics.advanced.track("search", "query"):
            timer.takes(0.25)
            raise LookupError("nothing found")

    with pytest.raises(LookupError, match="nothing found"):
        query()

    assert metrics.value(USES) == metrics.value(USES, outcome="failure", error_type="LookupError") == 1
    assert metrics.value(SECONDS, outcome="failure") == 0.25
    assert metrics.value("feature_errors_total") is None


def test_the_exception_is_recorded_as_an_error_on_request(caplog: pytest.LogCaptureFixture) -> None:
    with testing.recording(events="log") as metrics, caplog.at_level(logging.DEBUG, "otel_metrics.events"):
        with pytest.raises(LookupError), metrics.advanced.track("search", "query", record_exception=True):
            raise LookupError("nothing found")
        with metrics.advanced.track("search", "query", record_exception=True):
            pass

    assert metrics.value("feature_errors_total", error_type="LookupError", severity="error", recovery="none") == 1
    assert metrics.value("feature_errors_total") == 1
    assert metrics.value(USES) == 2
    assert "nothing found" in caplog.text


def test_a_block_may_say_itself_how_it_went(metrics: testing.Recording) -> None:
    with metrics.advanced.track("shop", "pay") as use:
        use.success, use.error_type = False, "CardDeclined"
    with metrics.advanced.track("shop", "pay") as use:
        use.success, use.user_context = None, "guest"

    assert metrics.value(USES, outcome="failure", error_type="CardDeclined") == 1
    assert metrics.value(USES, outcome="unknown", context="guest") == 1


def test_leaving_a_block_early_is_success(metrics: testing.Recording) -> None:
    def first(words: list[str]) -> str | None:
        for word in words:
            with metrics.advanced.track("search", "look"):
                if word == "b":
                    return word
                continue
        return None

    assert first(["a", "b", "c"]) == "b"
    assert metrics.value(USES) == metrics.value(USES, outcome="success") == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_what_was_cancelled_has_neither_failed_nor_succeeded(
    metrics: testing.Recording, error: type[BaseException]
) -> None:
    with contextlib.suppress(error), metrics.advanced.track("search", "query", record_exception=True):
        raise error

    assert metrics.value(USES) == metrics.value(USES, outcome="unknown", error_type=error.__name__) == 1
    assert metrics.value("feature_errors_total") is None


def test_blocks_in_blocks_have_the_times_of_their_own(metrics: testing.Recording, timer: Timer) -> None:
    with metrics.advanced.track("shop", "order"):
        timer.takes(1)
        with contextlib.suppress(ValueError), metrics.advanced.track("shop", "pay"):
            timer.takes(2)
            raise ValueError
        timer.takes(4)

    assert metrics.value(SECONDS, action="order", outcome="success") == 7
    assert metrics.value(SECONDS, action="pay", outcome="failure") == 2


def test_one_object_is_one_block(metrics: testing.Recording) -> None:
    use = metrics.advanced.track("shop", "order")
    with use:
        pass
    with pytest.raises(RuntimeError, match="for each block"), use:
        raise AssertionError("not run")

    assert metrics.value(USES) == 1


def test_a_function_keeps_its_signature_and_its_result(metrics: testing.Recording, timer: Timer) -> None:
    @metrics.advanced.track("maths", "factorial")
    def factorial(n: int, *, pause: float = 0.0) -> int:
        """Multiply."""
        timer.takes(pause)
        return n * factorial(n - 1) if n else 1

    assert (factorial.__name__, factorial.__doc__) == ("factorial", "Multiply.")
    assert list(inspect.signature(factorial).parameters) == ["n", "pause"]
    product = factorial(3, pause=0.5)
    assert_type(product, int)
    assert product == 6
    assert metrics.value(USES, outcome="success") == 4
    assert metrics.value(SECONDS) == 0.5  # the outermost call alone took time
    with pytest.raises(TypeError):
        factorial("3")  # type: ignore[arg-type]  # a type checker knows, too


def test_calls_at_the_same_time_do_not_disturb_each_other(metrics: testing.Recording) -> None:
    @metrics.advanced.track("shop", "order")
    def order(number: int) -> int:
        if number % 4 == 0:
            raise ValueError
        return number

    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(order, number) for number in range(400)]

    assert sum(each.exception() is None for each in done) == 300
    assert metrics.value(USES, outcome="success") == 300
    assert metrics.value(USES, outcome="failure", error_type="ValueError") == 100


def test_a_method_of_a_class_is_a_function(metrics: testing.Recording) -> None:
    class Shop:
        open = True

        @metrics.advanced.track("shop", "order")
        def order(self) -> bool:
            return self.open

    assert Shop().order()
    assert metrics.value(USES, action="order") == 1


def test_classmethods_and_staticmethods_are_tracked_in_either_order(metrics: testing.Recording) -> None:
    class Shop:
        @metrics.advanced.track("shop", "outside")
        @classmethod
        def outside(cls) -> type:
            return cls

        @classmethod
        @metrics.advanced.track("shop", "inside")
        def inside(cls) -> type:
            return cls

        @metrics.advanced.track("shop", "static")
        @staticmethod
        def static(number: int) -> int:
            return number

    assert Shop.outside() is Shop().outside() is Shop.inside() is Shop
    assert Shop.static(3) == Shop().static(3) == 3
    assert metrics.value(USES, action="outside", outcome="success") == 2
    assert metrics.value(USES, action="inside", outcome="success") == 1
    assert metrics.value(USES, action="static", outcome="success") == 2


@pytest.mark.parametrize("wrong", [None, "query", property(len)])
def test_what_cannot_be_called_is_told_where_it_is_decorated(metrics: testing.Recording, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"^function=.* is not allowed; allowed: what can be called"):
        metrics.advanced.track("shop", "order")(wrong)


def test_an_object_is_tracked_as_what_its_call_is(metrics: testing.Recording, timer: Timer) -> None:
    class Asks:
        async def __call__(self) -> None:
            await asyncio.sleep(0)
            timer.takes(0.5)
            raise LookupError

    class Counts:
        def __call__(self) -> Iterator[int]:
            timer.takes(0.5)
            yield 1

    with pytest.raises(LookupError):
        asyncio.run(metrics.advanced.track("shop", "ask")(Asks())())
    assert list(metrics.advanced.track("shop", "count")(Counts())()) == [1]
    assert isinstance(metrics.advanced.track("shop", "make")(Asks)(), Asks)

    assert metrics.value(USES, action="ask", outcome="failure", error_type="LookupError") == 1
    assert metrics.value(SECONDS, action="ask", outcome="failure") == 0.5
    assert metrics.value(SECONDS, action="count", outcome="success") == 0.5
    assert metrics.value(USES, action="make", outcome="success") == 1


def test_the_time_of_a_coroutine_is_its_await(metrics: testing.Recording, timer: Timer) -> None:
    @metrics.advanced.track("search", "query")
    async def query(text: str) -> str:
        timer.takes(0.5)
        await asyncio.sleep(0)
        timer.takes(0.5)
        return text

    async def main() -> str:
        assert inspect.iscoroutinefunction(query)
        waiting = query("a")
        timer.takes(60)
        assert metrics.value(USES) is None
        found = await waiting
        assert_type(found, str)
        return found

    assert asyncio.run(main()) == "a"
    assert metrics.value(SECONDS, outcome="success") == 1


def test_a_cancelled_coroutine_has_an_unknown_outcome(metrics: testing.Recording) -> None:
    @metrics.advanced.track("search", "query", record_exception=True)
    async def query() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(query())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(query(), 0.001)

    asyncio.run(main())
    assert metrics.value(USES) == metrics.value(USES, outcome="unknown", error_type="CancelledError") == 2
    assert metrics.value("feature_errors_total") is None


if sys.version_info >= (3, 11):  # asyncio has no task groups before

    def test_blocks_and_functions_in_task_groups(metrics: testing.Recording) -> None:
        """Groups in groups: what failed, what was cancelled for it, what ended before, and what had not begun."""
        track = metrics.advanced.track

        @track("shop", "ask")
        async def ask(answers: asyncio.Event) -> None:
            await answers.wait()

        @track("shop", "fail", record_exception=True)
        async def fail() -> None:
            raise ConnectionError

        async def main() -> None:
            never, at_once = asyncio.Event(), asyncio.Event()
            at_once.set()
            with contextlib.suppress(BaseException), track("shop", "outer"):  # an ExceptionGroup, which 3.10 has not
                async with asyncio.TaskGroup() as outer:
                    outer.create_task(ask(at_once))
                    outer.create_task(ask(never))
                    with contextlib.suppress(BaseException), track("shop", "inner"):
                        async with asyncio.TaskGroup() as inner:
                            inner.create_task(ask(never))
                            inner.create_task(fail())
                    with track("shop", "stopped"):
                        outer.create_task(fail())
                        await never.wait()

        asyncio.run(main())
        metrics.assert_value(USES, 1, action="ask", outcome="success")
        metrics.assert_value(USES, 2, action="ask", outcome="unknown", error_type="CancelledError")
        metrics.assert_value(USES, 2, action="fail", outcome="failure", error_type="ConnectionError")
        metrics.assert_value(USES, 1, action="inner", outcome="failure", error_type="ExceptionGroup")
        metrics.assert_value(USES, 1, action="stopped", outcome="unknown", error_type="CancelledError")
        metrics.assert_value(USES, 1, action="outer", outcome="failure", error_type="ExceptionGroup")
        metrics.assert_value(USES, 8)
        metrics.assert_value("feature_errors_total", 2, error_type="ConnectionError")

    def test_a_task_that_is_cancelled_before_its_first_step_has_not_begun(metrics: testing.Recording) -> None:
        @metrics.advanced.track("shop", "ask")
        async def ask() -> None:
            raise AssertionError("not run")

        async def main() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(ask()).cancel()

        asyncio.run(main())
        metrics.assert_value(USES, None)

    def test_a_timeout_is_a_failure_outside_of_it_and_unknown_inside(metrics: testing.Recording) -> None:
        async def main() -> None:
            with contextlib.suppress(TimeoutError), metrics.advanced.track("shop", "outside"):
                async with asyncio.timeout(0):
                    with metrics.advanced.track("shop", "inside"):
                        await asyncio.Event().wait()

        asyncio.run(main())
        metrics.assert_value(USES, 1, action="inside", outcome="unknown", error_type="CancelledError")
        metrics.assert_value(USES, 1, action="outside", outcome="failure", error_type="TimeoutError")


def test_a_generator_is_one_use_from_its_first_item_to_its_end(metrics: testing.Recording, timer: Timer) -> None:
    @metrics.advanced.track("search", "pages")
    def pages(n: int) -> Generator[int, str, str]:
        heard = []
        for page in range(n):
            timer.takes(1)
            heard.append((yield page))
        return " ".join(heard)

    unused = pages(3)
    timer.takes(60)
    unused.close()
    assert metrics.value(USES) is None  # nobody asked for an item

    talk = pages(2)
    assert next(talk) == 0
    assert talk.send("more") == 1
    timer.takes(10)
    with pytest.raises(StopIteration) as ended:
        talk.send("thanks")
    assert ended.value.value == "more thanks"
    assert metrics.value(USES) == metrics.value(USES, outcome="success") == 1
    assert metrics.value(SECONDS) == 12


def test_a_generator_that_is_left_early_has_an_unknown_outcome(metrics: testing.Recording) -> None:
    closed = []

    @metrics.advanced.track("search", "pages")
    def pages() -> Generator[int, None, None]:
        try:
            yield from range(10)
        finally:
            closed.append(True)

    with contextlib.closing(pages()) as some:
        assert next(some) == 0
    assert closed == [True]
    assert metrics.value(USES) == metrics.value(USES, outcome="unknown", error_type="GeneratorExit") == 1


def test_an_exception_reaches_the_generator_that_it_is_thrown_into(metrics: testing.Recording) -> None:
    @metrics.advanced.track("search", "pages")
    def pages() -> Generator[int, None, None]:
        with contextlib.suppress(KeyError):
            yield 1
        yield 2

    talk = pages()
    next(talk)
    assert talk.throw(KeyError()) == 2
    with pytest.raises(ValueError, match="enough"):
        talk.throw(ValueError("enough"))
    assert metrics.value(USES) == metrics.value(USES, outcome="failure", error_type="ValueError") == 1


def async_generator(metrics: testing.Recording, timer: Timer) -> Callable[[], AsyncGenerator[int, str]]:
    @metrics.advanced.track("search", "stream")
    async def stream() -> AsyncGenerator[int, str]:
        heard = ""
        try:
            while heard != "stop":
                timer.takes(1)
                await asyncio.sleep(0)
                with contextlib.suppress(KeyError):
                    heard = yield len(heard)
        finally:
            await asyncio.sleep(0)  # a closed generator may still wait

    assert_type(stream(), "AsyncGenerator[int, str]")
    return stream


def test_an_async_generator_is_one_use(metrics: testing.Recording, timer: Timer) -> None:
    stream = async_generator(metrics, timer)

    async def main() -> None:
        assert inspect.isasyncgenfunction(stream)
        talk = stream()
        assert await anext(talk) == 0
        assert await talk.asend("three") == 5
        assert await talk.athrow(KeyError()) == 5
        with pytest.raises(StopAsyncIteration):
            await talk.asend("stop")

    asyncio.run(main())
    assert metrics.value(USES) == metrics.value(USES, outcome="success") == 1
    assert metrics.value(SECONDS) == 3


def test_an_async_generator_that_ends_otherwise(metrics: testing.Recording, timer: Timer) -> None:
    stream = async_generator(metrics, timer)

    async def main() -> None:
        async with contextlib.aclosing(stream()) as some:
            assert await anext(some) == 0
        talk = stream()
        await anext(talk)
        with pytest.raises(ValueError, match="enough"):
            await talk.athrow(ValueError("enough"))

    asyncio.run(main())
    assert metrics.value(USES, outcome="unknown", error_type="GeneratorExit") == 1
    assert metrics.value(USES, outcome="failure", error_type="ValueError") == 1
    assert metrics.value(USES) == 2


def test_a_time_alone_is_a_performance_metric_in_milliseconds(metrics: testing.Recording, timer: Timer) -> None:
    with metrics.advanced.timed("search", "response_time", "query_ms", "production") as block:
        timer.takes(0.125)

    @metrics.advanced.timed("search", "response_time", "query_ms", "production")
    def query() -> None:
        timer.takes(0.125)
        raise ValueError

    for _ in range(2):
        with contextlib.suppress(ValueError):
            query()

    assert block.duration_ms == 125
    (row,) = metrics.advanced.get_performance_metrics("search")
    assert (row["metric_category"], row["metric_name"], row["context"]) == ("response_time", "query_ms", "production")
    assert (row["count"], row["avg"], row["unit"]) == (3, 125, "milliseconds")
    assert metrics.value(USES) is None


def test_an_exception_is_an_error_of_its_class(metrics: testing.Recording, caplog: pytest.LogCaptureFixture) -> None:
    class UnreadableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    metrics.advanced.record_exception(OSError("disk full"), "store", "critical", impact_level="high")
    metrics.advanced.record_exception(
        UnreadableError(), feature="store", recovery_attempted=True, recovery_successful=True
    )
    with testing.recording(events="log") as inner, caplog.at_level(logging.DEBUG, "otel_metrics.events"):
        inner.advanced.record_exception(OSError("disk full"), "store")
        inner.advanced.record_exception(UnreadableError(), "store")

    assert metrics.value("feature_errors_total", error_type="OSError", severity="critical", impact_level="high") == 1
    assert metrics.value("feature_errors_total", error_type="UnreadableError", recovery="succeeded") == 1
    assert inner.value("feature_errors_total") == 2
    assert "disk full" in caplog.text


def test_what_is_decorated_before_the_start_records_where_the_process_records_then(timer: Timer) -> None:
    early = AdvancedMetrics()

    @early.track("shop", "order")
    def order() -> None:
        timer.takes(3)

    with testing.recording(timer=timer) as metrics:
        order()
    assert metrics.value(SECONDS) == 3


def test_bad_input_raises_in_strict_mode_alone() -> None:
    with testing.recording() as metrics, pytest.raises(InvalidArgumentError), metrics.advanced.track("", "query"):
        pass
    with testing.recording(strict=False) as metrics:
        with metrics.advanced.track("", "query"):
            pass
        assert metrics.value("otel_metrics_rejected_total", call="record_feature_usage") == 1
