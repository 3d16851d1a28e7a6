"""`python -m runtime`: the device's command line, without any extra package."""

from __future__ import annotations

import sys

from runtime.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
