"""The command ``otel-metrics``, also as ``python -m otel_metrics``: loads nothing before Ctrl-C can end it quietly."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command and return its exit status."""
    try:
        from otel_metrics import cli

        return cli.main()
    except KeyboardInterrupt:  # while it is being loaded: the command itself knows what to do
        return 130


if __name__ == "__main__":
    sys.exit(main())
