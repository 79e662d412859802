"""A small shop, with the documented record calls written out."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import schedule
from fastapi import FastAPI, HTTPException

import otel_metrics

metrics = otel_metrics.get_advanced_metrics()
app = FastAPI()
app.mount("/metrics", otel_metrics.asgi_app())
pool = ThreadPoolExecutor(4)
prices = {"apple": 2, "pear": 3, "yacht": 900_000}
orders: list[str] = []


class PaymentError(Exception):
    """The bank says no."""


@app.get("/search")
async def search(text: str) -> list[str]:
    """Find articles."""
    start = time.perf_counter()
    success: bool | None = True
    error_type: str | None = None
    try:
        await asyncio.sleep(0.001)
        if not text:
            raise HTTPException(400, "search for what?")
        return [article for article in prices if text in article]
    except asyncio.CancelledError:
        success, error_type = None, "CancelledError"
        raise
    except Exception as error:
        success, error_type = False, type(error).__name__
        raise
    finally:
        duration_ms = (time.perf_counter() - start) * 1000
        metrics.record_feature_usage("shop", "search", duration_ms, success, error_type)


@app.post("/orders/{article}")
def order(article: str) -> int:
    """Order an article, and pay for it."""
    start = time.perf_counter()
    success, error_type = True, None
    try:
        try:
            pay(prices[article])
        except PaymentError as error:
            raise HTTPException(402, str(error)) from error
        orders.append(article)
        return len(orders)
    except Exception as error:
        success, error_type = False, type(error).__name__
        raise
    finally:
        duration_ms = (time.perf_counter() - start) * 1000
        metrics.record_feature_usage("shop", "order", duration_ms, success, error_type)


def pay(price: int) -> None:
    """Ask the bank."""
    start = time.perf_counter()
    success, error_type = True, None
    try:
        if price > 1000:
            raise PaymentError(f"{price} is too much")
    except Exception as error:
        success, error_type = False, type(error).__name__
        metrics.record_error("bank", error_type, error_message=str(error))
        raise
    finally:
        duration_ms = (time.perf_counter() - start) * 1000
        metrics.record_feature_usage("bank", "pay", duration_ms, success, error_type)


@app.get("/quotes")
def quotes() -> list[int]:
    """Ask all suppliers at the same time."""
    return list(pool.map(quote, prices))


def quote(article: str) -> int:
    """Ask one supplier."""
    start = time.perf_counter()
    try:
        return prices[article] // 2
    finally:
        duration_ms = (time.perf_counter() - start) * 1000
        metrics.record_performance_metric("shop", "response_time", "quote_ms", duration_ms, "milliseconds")


def forget() -> None:
    """Forget the orders of the day."""
    start = time.perf_counter()
    success, error_type = True, None
    try:
        orders.clear()
    except Exception as error:
        success, error_type = False, type(error).__name__
        raise
    finally:
        duration_ms = (time.perf_counter() - start) * 1000
        metrics.record_feature_usage("shop", "forget", duration_ms, success, error_type)


schedule.every().day.at("03:00").do(forget)


@app.get("/healthy")
async def healthy() -> bool:
    """Whether the bank accepts most payments: what the monitor asks for."""
    stats = await asyncio.to_thread(metrics.get_feature_usage_stats, "bank", hours=1)
    return not stats["success_rate"] < 0.5
