"""``python -m idc_desktop``."""

import sys

from idc_desktop.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
