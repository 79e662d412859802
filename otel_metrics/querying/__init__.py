"""The read path: a getter makes a plan, a source answers it, the answer becomes the documented dictionary.

``plans`` says what to ask, ``local`` and ``prometheus`` are the two sources, ``results`` shapes what they answer. The
sources share ``statistics`` (values, sketches) and ``buckets`` (what is left of values in a histogram).
"""

from __future__ import annotations
