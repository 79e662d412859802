"""Answers of queries as pandas frames, where pandas is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_metrics.errors import ConfigurationError

if TYPE_CHECKING:
    import pandas as pd

    from otel_metrics.querying.source import QueryTable


def require_pandas() -> None:
    """Make sure that there is pandas.

    Raises:
        ConfigurationError: there is none.
    """
    try:
        import pandas as pd  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            "query() returns a pandas frame and needs its extra: pip install 'otel-metrics-bridge[pandas]'"
        ) from error


def frame(table: QueryTable) -> pd.DataFrame:
    """Return one line per number: its time (UTC), its labels, and ``value``. ``attrs`` tell where it is from."""
    import pandas as pd

    columns: dict[str, list[object]] = {
        "time": list(pd.to_datetime([row.time for row in table.rows], unit="s", utc=True))
    }
    for label, heading in table.headings.items():
        columns[heading] = [row.labels.get(label) for row in table.rows]
    found = pd.DataFrame({**columns, "value": [row.value for row in table.rows]})
    found.attrs.update(
        question=table.question,
        value=table.value,
        promql=table.promql,
        warnings=table.warnings,
        scope=dict(table.scope),
    )
    return found
