"""A small shop, without any metrics."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import schedule
from fastapi import FastAPI, HTTPException

app = FastAPI()
pool = ThreadPoolExecutor(4)
prices = {"apple": 2, "pear": 3, "yacht": 900_000}
orders: list[str] = []


class PaymentError(Exception):
    """The bank says no."""


@app.get("/search")
async def search(text: str) -> list[str]:
    """Find articles."""
    await asyncio.sleep(0.001)
    if not text:
        raise HTTPException(400, "search for what?")
    return [article for article in prices if text in article]


@app.post("/orders/{article}")
def order(article: str) -> int:
    """Order an article, and pay for it."""
    try:
        pay(prices[article])
    except PaymentError as error:
        raise HTTPException(402, str(error)) from error
    orders.append(article)
    return len(orders)


def pay(price: int) -> None:
    """Ask the bank."""
    if price > 1000:
        raise PaymentError(f"{price} is too much")


@app.get("/quotes")
def quotes() -> list[int]:
    """Ask all suppliers at the same time."""
    return list(pool.map(quote, prices))


def quote(article: str) -> int:
    """Ask one supplier."""
    return prices[article] // 2


def forget() -> None:
    """Forget the orders of the day."""
    orders.clear()


schedule.every().day.at("03:00").do(forget)
