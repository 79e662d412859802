"""The getters for asyncio: with a real Prometheus behind a wire that runs in the same event loop as they do."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import asynccontextmanager, closing, suppress
from typing import TYPE_CHECKING

import pytest
from typing_extensions import assert_type

from otel_metrics import InvalidArgumentError, QueryTimeoutError, aio, results, testing
from otel_metrics.facade.getters import AdvancedGetters, BasicGetters
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from otel_metrics.settings import WhenUnavailable
    from tests.servers import Prometheus, Servers

DEADLINE = 20


class Wire:
    """Carries bytes to a server and back; answers wait until it is :attr:`open`. A getter that held the loop would never see one."""

    def __init__(self, port: int) -> None:
        self.asked, self.open, self.hung_up = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._port = port

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._port)
            with closing(to_server):
                await self._carry(reader, writer, from_server, to_server)

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        from_server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        async def back() -> None:
            while data := await from_server.read(2**16):
                await self.open.wait()
                writer.write(data)

        async def there() -> None:
            with suppress(ConnectionError):
                while data := await reader.read(2**16):
                    self.asked.set()
                    to_server.write(data)
            self.hung_up.set()
            returning.cancel()

        returning = asyncio.create_task(back())
        await asyncio.gather(there(), returning, return_exceptions=True)


@asynccontextmanager
async def wire(server: Prometheus) -> AsyncIterator[tuple[Wire, str]]:
    made = Wire(server.port)
    async with await asyncio.start_server(made.carry, "127.0.0.1", 0) as listening:
        yield made, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    for _ in range(5):  # what was accepted last has to begin before it can be ended
        await asyncio.sleep(0)
    waiting = asyncio.all_tasks() - {asyncio.current_task()}  # what idle connections wait for
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


@pytest.fixture(scope="module")
def server(session_servers: Servers) -> Prometheus:
    return session_servers.prometheus()


def test_every_getter_has_its_awaitable_with_the_same_signature() -> None:
    for ours, theirs in ((aio.AdvancedGetters, AdvancedGetters), (aio.MetricsGetters, BasicGetters)):
        names = [name for name in dir(theirs) if name.startswith(("get_", "aggregate_", "query"))]
        assert len(names) in {11, 1}
        assert [name for name in dir(ours) if not name.startswith("_")] == names
        for name in names:
            assert inspect.iscoroutinefunction(getattr(ours, name))
            assert inspect.signature(getattr(ours, name)) == inspect.signature(getattr(theirs, name))


def test_they_return_and_raise_what_the_others_do() -> None:
    async def main() -> None:
        stats = await aio.get_advanced_metrics().get_error_stats("search", hours=1)
        assert_type(stats, results.ErrorResult)
        assert stats["total_errors"] == 1
        number = await aio.get_metrics_collector().get_metric_statistics("search", "accuracy")
        assert_type(number, results.MetricStatistics)
        assert number["avg"] == 0.5
        with pytest.raises(InvalidArgumentError):
            await aio.get_advanced_metrics().get_error_stats("search", hours=-1)
        with pytest.raises(TypeError):
            await aio.get_advanced_metrics().get_error_stats(day=3)  # type: ignore[call-arg]

    with testing.recording() as metrics:
        metrics.advanced.record_error("search", "Timeout")
        metrics.basic.record_learning_metric("search", "accuracy", 0.5)
        asyncio.run(main())


def test_the_loop_goes_on_while_a_server_answers(server: Prometheus) -> None:
    async def main() -> None:
        async with wire(server) as (line, url):
            with testing.recording(prometheus_url=url, prometheus_unavailable="raise"):
                asking = asyncio.create_task(aio.get_advanced_metrics().get_error_stats("search"))
                await asyncio.wait_for(line.asked.wait(), DEADLINE)
                assert not asking.done()
                line.open.set()
                assert (await asking)["source"] == "prometheus"

    asyncio.run(main())


@pytest.mark.parametrize("unavailable", ["raise", "local"])
def test_a_cancelled_getter_closes_its_request(server: Prometheus, unavailable: WhenUnavailable) -> None:
    async def main() -> None:
        async with wire(server) as (line, url):
            with testing.recording(prometheus_url=url, prometheus_unavailable=unavailable, prometheus_timeout=600):
                asking = asyncio.create_task(aio.get_advanced_metrics().get_comprehensive_dashboard())
                await asyncio.wait_for(line.asked.wait(), DEADLINE)
                assert asking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asking
                await asyncio.wait_for(line.hung_up.wait(), DEADLINE)
                # Its thread has ended, too: the loop waits for all of them.
                await asyncio.wait_for(asyncio.get_running_loop().shutdown_default_executor(), DEADLINE)

    asyncio.run(main())


def test_a_getter_that_is_cancelled_between_two_attempts_makes_no_other() -> None:
    async def main() -> None:
        with testing.recording(prometheus_url=f"http://127.0.0.1:{free_port()}", prometheus_timeout=600):
            asking = [asyncio.create_task(aio.get_advanced_metrics().get_error_stats()) for _ in range(50)]
            await asyncio.sleep(0)
            for each in asking:
                each.cancel()
            assert set(map(type, await asyncio.gather(*asking, return_exceptions=True))) == {asyncio.CancelledError}
            await asyncio.wait_for(asyncio.get_running_loop().shutdown_default_executor(), DEADLINE)

    asyncio.run(main())


def test_one_that_is_cancelled_leaves_the_others_alone(server: Prometheus) -> None:
    async def main() -> None:
        async with wire(server) as (line, url):
            with testing.recording(prometheus_url=url, prometheus_unavailable="raise"):
                first, *others = [
                    asyncio.create_task(aio.get_advanced_metrics().get_error_stats("search")) for _ in range(4)
                ]
                await asyncio.wait_for(line.asked.wait(), DEADLINE)
                first.cancel()
                line.open.set()
                assert [(await each)["source"] for each in others] == ["prometheus"] * 3
                with pytest.raises(asyncio.CancelledError):
                    await first

    asyncio.run(main())


def test_a_timeout_of_asyncio_is_one(server: Prometheus) -> None:
    async def main() -> None:
        async with wire(server) as (line, url):
            with testing.recording(prometheus_url=url, prometheus_timeout=0.2, prometheus_unavailable="raise"):
                with pytest.raises(QueryTimeoutError):
                    await aio.get_advanced_metrics().get_error_stats()
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(aio.get_advanced_metrics().get_error_stats(), 0.01)
                await asyncio.wait_for(line.hung_up.wait(), DEADLINE)

    asyncio.run(main())
