"""Upper bounds of the classic buckets, chosen per metric: floats, as ``le`` labels are compared as text."""

from __future__ import annotations

from typing import Final


def _steps(first_decade: int, decades: int, digits: tuple[float, ...]) -> tuple[float, ...]:
    """Preferred numbers over several decades, closed by the next power of ten."""
    exponents = range(first_decade, first_decade + decades)
    return (*(float(f"{d}e{e}") for e in exponents for d in digits), float(f"1e{first_decade + decades}"))


_E6 = (1.0, 1.5, 2.2, 3.3, 4.7, 6.8)
_E3 = (1.0, 2.2, 4.7)
_TWENTIETHS = tuple(n / 20 for n in range(21))

SECONDS: Final = _steps(-4, 6, _E6)
BYTES: Final = tuple(float(2**n) for n in range(6, 35))
SCORES: Final = _TWENTIETHS
RATIOS: Final = (*_TWENTIETHS, 1.25, 1.5, 2.0, 5.0, 10.0)
ACCURACIES: Final = (*_TWENTIETHS[:19], *(n / 100 for n in range(91, 101)))
CHANGES: Final = (*_TWENTIETHS, *(1 + n / 20 for n in range(1, 11)), 1.75, 2.0, 3.0, 5.0, 10.0)
RATES: Final = _steps(-2, 8, _E3)
VALUES: Final = (0.0, *_steps(-3, 12, _E3))
