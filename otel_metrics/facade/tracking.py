"""Blocks and calls that time and record themselves: what ``AdvancedMetrics.track`` and ``timed`` return."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from otel_metrics.errors import _shown

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from otel_metrics.facade.binding import Facade

F = TypeVar("F", bound="Callable[..., Any]")


class Timed:
    """A block that is timed; as a decorator, each call of a function.

    The time of a coroutine runs while it is awaited, that of a generator from the first item that is asked for until its end, with
    what its caller does in between. One object is good for one block, or for any number of functions and their calls.

    Args:
        metrics: whose timer is read.
        record: called with the milliseconds, however the block ended.

    Raises:
        RuntimeError: the object was entered before, perhaps by another thread: each block has one of its own.
    """

    __slots__ = ("_metrics", "_record", "_started", "_timer", "duration_ms")

    def __init__(self, metrics: Facade, record: Callable[..., None]) -> None:
        self._metrics = metrics
        self._record = record
        self._timer: Callable[[], float] | None = None

    def _another(self) -> Timed:
        """Return a new one of the same, for one call of a function."""
        return Timed(self._metrics, self._record)

    def __enter__(self) -> Self:
        if self._timer is not None:
            raise RuntimeError("this block was entered before: call track() or timed() for each block")
        self._timer = timer = self._metrics.timer
        self._started = timer()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.duration_ms = (self._timer() - self._started) * 1000  # type: ignore[misc]  # it was entered
        self._record(self.duration_ms)

    def __call__(self, function: F) -> F:
        """Return ``function``, each call of which is timed: also a coroutine function, or a generator of either kind.

        Raises:
            TypeError: it cannot be called.
        """
        if isinstance(function, (classmethod, staticmethod)):
            return type(function)(self(function.__func__))
        if not callable(function):
            allowed = "what can be called; a property is made of a tracked function: @property above, @track() below"
            raise TypeError(f"function={_shown(function)} is not allowed; allowed: {allowed}")
        call: Any = function

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self._another():
                return call(*args, **kwargs)

        async def timed_coroutine(*args: Any, **kwargs: Any) -> Any:
            with self._another():
                return await call(*args, **kwargs)

        def timed_generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            with self._another():
                return (yield from call(*args, **kwargs))

        async def timed_async_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            with self._another():
                generator = call(*args, **kwargs)
                try:
                    item = await anext(generator)
                    while True:
                        try:
                            sent = yield item
                        except GeneratorExit:
                            await generator.aclose()
                            raise
                        except BaseException as error:  # whatever its caller throws in
                            item = await generator.athrow(error)
                        else:
                            item = await generator.asend(sent)
                except StopAsyncIteration:
                    pass

        # What an object does when it is called is in its class; a class itself is only made an object of.
        called = function if isinstance(function, type) else type(function).__call__
        if inspect.isasyncgenfunction(function) or inspect.isasyncgenfunction(called):
            chosen: Any = timed_async_generator
        elif inspect.isgeneratorfunction(function) or inspect.isgeneratorfunction(called):
            chosen = timed_generator
        elif inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called):
            chosen = timed_coroutine
        else:
            chosen = timed
        return wraps(function)(chosen)  # type: ignore[return-value]  # it takes and returns the same


class Use(Timed):
    """One use of an action.

    Inside the block ``success``, ``error_type``, ``user_context`` and ``metadata`` can be set. An exception that leaves the block
    decides about the first two.
    """

    __slots__ = ("_record_exception", "action", "error_type", "feature", "metadata", "success", "user_context")

    def __init__(
        self,
        metrics: Facade,
        record: Callable[..., None],
        record_exception: Callable[[BaseException, str], None] | None,
        feature: str,
        action: str,
        user_context: str | None,
        metadata: Mapping[str, object] | None,
    ) -> None:
        # As the base class does: calling it would be a tenth of what a use costs.
        self._metrics = metrics
        self._record = record
        self._timer = None
        self._record_exception = record_exception
        self.feature = feature
        self.action = action
        self.success: bool | None = True
        self.error_type: str | None = None
        self.user_context = user_context
        self.metadata = metadata

    def _another(self) -> Use:
        return Use(
            self._metrics,
            self._record,
            self._record_exception,
            self.feature,
            self.action,
            self.user_context,
            self.metadata,
        )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        duration_ms = self.duration_ms = (self._timer() - self._started) * 1000  # type: ignore[misc]  # it was entered
        if error is not None:
            # What was cancelled, or closed before its end, has neither failed nor succeeded.
            self.success = False if isinstance(error, Exception) else None
            self.error_type = type(error).__name__
        self._record(
            self.feature,
            self.action,
            duration_ms,
            self.success,
            self.error_type,
            self.user_context,
            self.metadata,
        )
        if self._record_exception is not None and isinstance(error, Exception):
            self._record_exception(error, self.feature)
