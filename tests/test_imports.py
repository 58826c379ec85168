"""What importing the command line costs: nothing that is slow or that a child should own."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("openslide", "onnxruntime", "PySide6", "tensorflow", "numpy", "PIL", "shapely", "tifffile")


def loaded_by(module: str) -> set[str]:
    script = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "idc_desktop",
        "idc_desktop.commands.cli",
        "idc_desktop.processes.supervisor",
        "idc_desktop.children.engine",
        "idc_desktop.maps.grid",
    ],
)
def test_import_loads_no_heavy_library(module: str) -> None:
    assert loaded_by(module) & set(HEAVY) == set()


def test_export_needs_neither_decoder_nor_inference() -> None:
    found = loaded_by("idc_desktop.export.folder")

    assert found & {"openslide", "onnxruntime", "PySide6", "tensorflow"} == set()
    assert "numpy" in found  # the list is not empty for want of looking


@pytest.mark.parametrize(
    "module",
    ["idc_desktop.export.folder", "idc_desktop.regions.statistics", "idc_desktop.regions.book"],
)
def test_what_the_window_starts_with_loads_no_library_that_it_does_not_need_yet(
    module: str,
) -> None:
    late = {"shapely", "tifffile", "PIL", "reportlab", "highdicom", "pydicom"}

    assert loaded_by(module) & late == set()


def test_telemetry_is_off_before_anything_else_is_imported() -> None:
    script = "import idc_desktop, os; print(os.environ.get('ORT_DISABLE_TELEMETRY'))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == "1"
