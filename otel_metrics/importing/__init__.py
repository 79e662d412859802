"""The old SQLite database -> blocks of a Prometheus data directory.

The way of a row: ``tables`` (which columns fit) -> ``reading`` (row, unit, label and scale as a record call would treat them) ->
``spool`` (one file per UTC day) -> ``keepers`` (buckets, sums, day's values) -> ``exposition`` (one OpenMetrics file per day) ->
``blocks`` (promtool, then into place). ``job`` puts them in this order; ``ledger`` accounts for every row, ``state`` remembers
finished days, ``verify`` and ``compare`` look at the result from the other side.
"""

from __future__ import annotations
