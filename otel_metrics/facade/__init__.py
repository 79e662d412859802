"""The documented classes: their signatures, their call caches, and what their arguments mean."""

from __future__ import annotations
