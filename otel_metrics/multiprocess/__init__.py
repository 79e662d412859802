"""Totals that several processes of one application share through a directory.

:class:`~otel_metrics.multiprocess.totals.SharedTotals` is the way in. Needs ``flock``, so not for Windows.
"""
