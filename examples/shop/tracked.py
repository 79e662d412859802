"""A small shop that tracks what it does."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import schedule
from fastapi import FastAPI, HTTPException

import otel_metrics
from otel_metrics.integrations.web import expose

metrics, getters = otel_metrics.get_advanced_metrics(), otel_metrics.aio.get_advanced_metrics()
app = expose(FastAPI())
pool = ThreadPoolExecutor(4)
prices = {"apple": 2, "pear": 3, "yacht": 900_000}
orders: list[str] = []


class PaymentError(Exception):
    """The bank says no."""


@app.get("/search")
@metrics.track("shop", "search")
async def search(text: str) -> list[str]:
    """Find articles."""
    await asyncio.sleep(0.001)
    if not text:
        raise HTTPException(400, "search for what?")
    return [article for article in prices if text in article]


@app.post("/orders/{article}")
@metrics.track("shop", "order")
def order(article: str) -> int:
    """Order an article, and pay for it."""
    try:
        pay(prices[article])
    except PaymentError as error:
        raise HTTPException(402, str(error)) from error
    orders.append(article)
    return len(orders)


@metrics.track("bank", "pay", record_exception=True)
def pay(price: int) -> None:
    """Ask the bank."""
    if price > 1000:
        raise PaymentError(f"{price} is too much")


@app.get("/quotes")
def quotes() -> list[int]:
    """Ask all suppliers at the same time."""
    return list(pool.map(quote, prices))


@metrics.timed("shop", "response_time", "quote_ms")
def quote(article: str) -> int:
    """Ask one supplier."""
    return prices[article] // 2


@metrics.track("shop", "forget")
def forget() -> None:
    """Forget the orders of the day."""
    orders.clear()


schedule.every().day.at("03:00").do(forget)


@app.get("/healthy")
async def healthy() -> bool:
    """Whether the bank accepts most payments: what the monitor asks for."""
    return not (await getters.get_feature_usage_stats("bank", hours=1))["success_rate"] < 0.5
