"""Where the files are that are shipped beside the code."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).resolve().parents[1]

INSTALLED: Final = _PACKAGE / "_shipped"
"""Inside an installed package."""

PLACES: Final = (INSTALLED, _PACKAGE.parent)
"""Where to look, one after the other: inside an installed package, at the top of a checkout."""
