"""Numbers that notice when an aggregation adds them to its sum: what somebody has taken must not be offered again.

The call of an instrument may raise before that and after it: it runs foreign code, an exemplar filter or reservoir of the
application's, and signal handlers.
"""

from __future__ import annotations

from typing import Any


class _Acknowledged:
    added = False

    def __radd__(self, other: Any) -> Any:
        self.added = True
        return super().__radd__(other)  # type: ignore[misc]  # of the number that this is mixed into


class AcknowledgedInt(_Acknowledged, int):
    """An integer that says whether it was ``added``."""


class AcknowledgedFloat(_Acknowledged, float):
    """A float that says whether it was ``added``."""


def acknowledged(number: float) -> AcknowledgedInt | AcknowledgedFloat:
    """Return ``number`` as one that notices."""
    return AcknowledgedInt(number) if isinstance(number, int) else AcknowledgedFloat(number)
