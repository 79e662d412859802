"""For frameworks and tools that applications are made with. Nothing here is loaded before it is imported."""

from __future__ import annotations
