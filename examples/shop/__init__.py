"""One web application three times: plain, with record calls by hand, and tracked. A test counts the lines."""

from __future__ import annotations
