"""The one thing that goes wrong, once and announced: a folder of the standard library is not where it should be."""

from __future__ import annotations

from typing import Final

from examples.learning_engine.reader import FEATURE

PACKAGE: Final = "email"
"""Whose files cannot be opened for a generation. There are more than twenty, and ten errors in an hour are tolerated."""

ALERT: Final = "FeatureErrorsHigh"

WHAT: Final = f"The folder of the package {PACKAGE} is gone: {FEATURE} cannot open any of its files."

WHERE: Final = (
    f"Dashboard Overview: the tile 'Most errors' turns red and names {FEATURE}, which is the first of the features.",
    f"Dashboard Errors: a bar of FileNotFoundError, severity error, at {FEATURE}. Everything else stays as it was.",
    f"Alert {ALERT}: pending first, firing once that has lasted; it resolves when the errors are older than an hour.",
)
"""What to look at, and what is to be seen there."""
