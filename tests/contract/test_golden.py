"""What the shipped models say of a painted slide stays what it was.

`python -m tests.contract.test_golden` writes the tables anew, after a model was replaced.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import pytest

from idc_desktop.models.model_file import bundled_models
from tests.support.command import read_csv, run_cli
from tests.support.scenes import write_tissue_slide

GOLDEN = Path(__file__).parent / "golden"
COLUMNS = ("row", "col", "status", "prob_IDC", "prob_IDC_context", "uncertainty")
SIZE_PX, MPP = (450, 350), 8.0
PROCESSORS = 1e-3  # so far may the probabilities of two processors differ


def said_by(model: str, folder: Path) -> list[dict[str, str]]:
    """Return the patches of the painted slide as the command writes them."""
    slide = write_tissue_slide(folder / "painted.tiff", SIZE_PX, MPP, seed=7).path
    out = folder / "out"
    command = ("analyze", slide, "--out", out, "--model", model, "--provider", "cpu")
    outcome = run_cli(*command, "--no-shield", data_dir=folder / "data")
    assert outcome.code == 0, str(outcome)
    return read_csv(out / "painted" / "patches.csv")


@pytest.mark.parametrize("model", sorted(bundled_models()))
def test_shipped_model_says_of_a_painted_slide_what_it_said_before(
    model: str, tmp_path: Path
) -> None:
    found, golden = said_by(model, tmp_path), read_csv(GOLDEN / f"{model}.csv")

    assert len(found) == len(golden)
    for patch, before in zip(found, golden, strict=True):
        for name in COLUMNS[:3]:
            assert patch[name] == before[name]
        for name in COLUMNS[3:]:
            assert (patch[name] == "") == (before[name] == ""), name
            if patch[name]:
                about = pytest.approx(float(before[name]), abs=PROCESSORS)
                assert float(patch[name]) == about, (name, patch)


def main() -> None:
    """Write the tables."""
    for model in bundled_models():
        with tempfile.TemporaryDirectory() as folder:
            rows = said_by(model, Path(folder))
        with (GOLDEN / f"{model}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
