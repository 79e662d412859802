"""A small learning engine on the text that every Python installation carries, recorded through the documented API."""

from __future__ import annotations
