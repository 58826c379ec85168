"""How the shield does on real slides: false alarms, and what it finds that is painted over them.

``python -m tests.bench.shield`` prints the tables, writes them to ``resources/models/reports`` and
exits 1 if a figure misses its target. It reads the folder of test data, which is not ours to copy.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from idc_desktop.analysis.shield import Shield
from idc_desktop.analysis.tiling import PatchReader
from idc_desktop.maps.layers import REASONS
from idc_desktop.maps.tissue import TissueSettings
from idc_desktop.models.card import PatchSize
from idc_desktop.phantom.making import cache_folder, make_phantom
from idc_desktop.slides.reader import Slide
from tests.bench.figure import Figure
from tests.support import artefacts

REPORT = Path(__file__).resolve().parents[2] / "resources" / "models" / "reports" / "shield.md"
UM_PX, SIDE_PX = 8.0, 50
CLEAN = ("data/idc_slides/*.tiff", "data/other_laboratories/*.tiff", "slides/CMU-1-Small-*.svs")
SCALES_UM_PX = (4.0, 8.0, 16.0)
PAINTED_PER_SLIDE, LEAST_PAINTED = 100, 20
LEAST_TISSUE = 0.5

MOST_FALSE, LEAST_FOUND, LEAST_PEN, MOST_S = 0.01, 0.95, 0.9, 0.2
PATCHES_OF_A_SLIDE = 1650

Patches = npt.NDArray[np.uint8]


def patches_of(slide_path: Path) -> tuple[Patches, Shield, float]:
    """Return the patches of a slide that are tissue, as the analysis sees them, what judges them.

    And the seconds that it takes to look around.
    """
    with Slide(slide_path) as slide:
        reader = PatchReader(slide, PatchSize(SIDE_PX, UM_PX), TissueSettings())
        began = time.process_time()
        reader.look_around()
        shield = Shield(UM_PX, reader.survey)
        spent = time.process_time() - began
        return np.concatenate([reader.read(it)[1] for it in reader.blocks()]), shield, spent


def cut(picture: Patches) -> tuple[Patches, tuple[int, int]]:
    """Cut a picture into patches, filled up with white; with their rows and columns."""
    down, across = (-(-side // SIDE_PX) for side in picture.shape[:2])
    whole = np.full((down * SIDE_PX, across * SIDE_PX, picture.shape[2]), 255, np.uint8)
    whole[: picture.shape[0], : picture.shape[1]] = picture
    cells = whole.reshape(down, SIDE_PX, across, SIDE_PX, -1).swapaxes(1, 2)
    return cells.reshape(-1, SIDE_PX, SIDE_PX, picture.shape[2]), (down, across)


def found_of_pen(picture: Path, mask: Path, um_px: float) -> float:
    """Return which share of the masked area lies in patches that are excluded."""
    with Image.open(picture) as image, Image.open(mask) as where:
        size = [max(1, round(side * um_px / UM_PX)) for side in image.size]
        pixels = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BOX))
        masked = np.asarray(where.convert("L").resize(size, Image.Resampling.BOX))
    patches, _ = cut(pixels)
    areas = cut(masked[..., None])[0].astype(float).sum(axis=(1, 2, 3))
    # The mask's margin was filled with white, too.
    areas -= cut(np.zeros_like(masked)[..., None])[0].astype(float).sum(axis=(1, 2, 3))
    seen = np.zeros(len(patches), np.bool_)
    tissue = TissueSettings()
    fine = SIDE_PX // tissue.mask_px
    pieces = patches.reshape(-1, tissue.mask_px, fine, tissue.mask_px, fine, 3)
    is_tissue = tissue.is_tissue((pieces.mean(axis=(2, 4)) + 0.5).astype(np.uint8))
    seen[is_tissue] = Shield(UM_PX).judge(patches[is_tissue]) > 0
    return float(areas[seen].sum() / areas.sum())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]


def measured(data: Path) -> tuple[list[Figure], list[str]]:
    """Return the figures, and the report's lines."""
    slides = {it.stem: patches_of(it) for glob in CLEAN for it in sorted(data.glob(glob))}
    phantom = make_phantom(cache_folder()).slide
    slides["phantom"] = patches_of(phantom)
    figures, lines = [], ["# The shield", ""]
    lines += [
        "Patches that the model has no business judging, at 8 µm/px: by their own pixels, folds",
        "and blur also by what is usual on the slide. Written by `python -m tests.bench.shield`. A",
        "patch counts as found whatever reason was given.",
        "",
        "## On slides as they are",
        "",
        "What is called a false alarm is mostly there: margin ink, folds, dirt, blood.",
        "",
    ]
    rows, verdicts, spent = [], {}, 0.0
    for name, (patches, shield, _) in slides.items():
        began = time.process_time()
        verdicts[name] = shield.judge(patches)
        spent += time.process_time() - began
        of_slide = Counter(REASONS[it] for it in verdicts[name] if it)
        share = of_slide.total() / len(patches)
        which = ", ".join(f"{reason} {number}" for reason, number in of_slide.most_common())
        rows.append([name, f"{len(patches):,}", f"{100 * share:.2f} %", which or "–"])
        figures.append(Figure(f"{name}, excluded", 100 * share, "%", target=100 * MOST_FALSE))
    spent *= PATCHES_OF_A_SLIDE / sum(len(patches) for patches, _, _ in slides.values())
    around = max(seconds for *_, seconds in slides.values())
    figures.append(Figure("time for 1,650 patches", spent, "s", target=MOST_S))
    lines += table(("slide", "patches", "excluded", "of them"), rows)
    lines += [
        f"1,650 patches take {spent:.2f} s of one core, the look around the slide before them",
        f"{around:.2f} s at most, with reading.",
        "",
    ]

    lines += [
        "## Painted over them",
        "",
        "Share of patches found, of those more than half tissue.",
        "",
    ]
    rows = []
    below = {name: _tissue(it[0][verdicts[name] == 0]) for name, it in slides.items()}
    below = {name: it for name, it in below.items() if len(it) >= LEAST_PAINTED}
    for kind, paint in artefacts.PAINTERS.items():
        for cover in (0.25, 0.5, 1.0):
            rng = np.random.default_rng(7)
            shares = []
            for name, patches in below.items():
                some = patches[rng.permutation(len(patches))[:PAINTED_PER_SLIDE]]
                painted = np.stack([paint(it, cover, rng) for it in some])
                shares.append(float(np.mean(slides[name][1].judge(painted) > 0)))
            mean = float(np.mean(shares))
            rows.append([kind, f"{cover:.0%}", *(f"{it:.2f}" for it in shares), f"{mean:.2f}"])
            figures.append(Figure(f"{kind} over {cover:.0%}, found", mean, "", floor=LEAST_FOUND))
    lines += table(("kind", "covered", *below, "mean"), rows)

    lines += [
        "## Pens of others",
        "",
        "Share of the masked area that lies in excluded patches.",
        "",
    ]
    rows = []
    folder = data / "data" / "artefacts" / "HistoQC"
    for mask in sorted(folder.glob("*pen*_mask.png")):
        picture = mask.with_name(mask.name.replace("_mask", ""))
        shares = [found_of_pen(picture, mask, it) for it in SCALES_UM_PX]
        rows.append([picture.stem, *(f"{it:.3f}" for it in shares)])
        figures.append(Figure(f"{picture.stem}", max(shares), "", floor=LEAST_PEN))
    lines += table(("picture", *(f"at {it:g} µm/px" for it in SCALES_UM_PX)), rows)
    return figures, lines


def _tissue(patches: Patches) -> Patches:
    dark = patches.min(axis=-1) < 190
    return patches[dark.mean(axis=(1, 2)) > LEAST_TISSUE]


def main() -> int:
    """Measure, print and write."""
    data = Path(os.environ.get("IDC_TEST_DATA", Path(__file__).parents[3] / "shared"))
    if not data.is_dir():
        print(  # noqa: T201
            f"There is no folder of test data at {data} (IDC_TEST_DATA)."
        )
        return 2
    figures, lines = measured(data)
    for figure in figures:
        print(figure)  # noqa: T201
    REPORT.write_text("\n".join(lines), encoding="utf-8")
    return 0 if all(figure.passed for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
