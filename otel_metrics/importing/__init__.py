"""The old SQLite database becomes history of a Prometheus or VictoriaMetrics.

The path of a row: ``source_db`` (which tables and columns there are) -> ``row_reader`` (``timestamps``, then unit, label and scale as
a record call treats them) -> ``day_files`` (one file per UTC day) -> ``day_builder`` (buckets, sums, the day's values) ->
``openmetrics_file`` (one text per day) -> a ``target``: ``data_directory`` (promtool makes blocks, which move into place),
``openmetrics_folder`` (files for promtool elsewhere) or ``victoria_metrics`` (requests).

``old_history`` holds what was read, with the days of ``old_aggregates`` whose rows are gone. ``importer`` writes day after day and
``report`` accounts for every row. Afterwards ``sql_check`` asks SQL.
"""

from __future__ import annotations
