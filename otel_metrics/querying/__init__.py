"""The read path: a getter makes a plan, a source answers it, the answer becomes the documented dictionary.

``plans`` says what to ask. ``local_source`` and ``prometheus_source`` answer it, in the terms of ``source``. ``shaping`` makes the
documented dictionary of the answer, in the units of ``caller_units``. ``statistics`` (values, sketches) and ``buckets`` (what a histogram
keeps of values) compute the numbers. ``questions`` puts those of the ``cookbook`` to a server, which have no documented dictionary.
"""

from __future__ import annotations
