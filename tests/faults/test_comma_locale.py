"""The window's tests where numbers have a decimal comma (T60)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_window_is_the_same_where_numbers_have_a_comma() -> None:
    comma = {**os.environ, "LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8"}
    comma.pop("PYTEST_CURRENT_TEST", None)
    # Qt takes the comma from a locale that the system has not installed, too, and says so.
    ignored = "qt_log_ignore=This plugin does not support\nDetected locale"
    command = [sys.executable, "-m", "pytest", "-q", "tests/ui", "-m", "not long", "-o", ignored]
    run = subprocess.run(command, cwd=ROOT, env=comma, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-4000:]
