"""A reader of regions that dies, hangs or takes too much, as one does at a hostile outline.

Run as ``python -m tests.support.crashing_region_reader`` in place of the real one; see
`crashing_engine`. It happens at the first area, whatever `Crash.at` says.
"""

from __future__ import annotations

import json
import os
from typing import Any

from tests.support.crashing_engine import VARIABLE, Crash

MODULE = "tests.support.crashing_region_reader"


def main() -> None:
    """Run the reader with the crash built in."""
    from idc_desktop.children import region_reader
    from idc_desktop.regions import files

    crash = Crash(**json.loads(os.environ[VARIABLE]))

    def repaired_rings(*_: Any) -> None:
        crash.happens()

    files.repaired_rings = repaired_rings  # type: ignore[assignment]
    region_reader.main()


if __name__ == "__main__":
    main()
