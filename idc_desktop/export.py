"""The six files that leave the application, and the proof that a folder of them is intact.

No file holds a path, a time, a user or host name, or any text of the slide's own metadata.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from idc_desktop import RESEARCH_USE_NOTICE, __version__
from idc_desktop.colormap import colorize, lookup_table, outline
from idc_desktop.errors import ExportError, OutputError
from idc_desktop.grid import MILLIONTHS, PatchState, ProbabilityMap
from idc_desktop.model_file import ModelFile
from idc_desktop.record import RunRecord
from idc_desktop.regions import Region, RegionStatistics, measure, whole_slide

FILES = ("regions.csv", "patches.csv", "patches.geojson", "overlay.png", "probability.ome.tiff")
PROVENANCE = "provenance.json"
"""Written last; names the SHA-256 of each of the `FILES`."""

PATCH_COLUMNS = (
    "minx",
    "miny",
    "width",
    "height",
    "prob_Other",
    "prob_IDC",
    "row",
    "col",
    "status",
)
REGION_COLUMNS = (
    "Image",
    "Name",
    "Classification",
    "ROI",
    "Centroid X µm",
    "Centroid Y µm",
    "Area µm^2",
    "Perimeter µm",
    "Patches",
    "Patches analyzed",
    "Patches failed",
    "Coverage %",
    "IDC patches",
    "IDC fraction",
    "IDC area µm^2",
    "Mean probability",
    "Median probability",
    "Max probability",
    "Threshold",
    "Model",
    "Model SHA-256",
    "mpp used",
    "mpp source",
    "Provider",
    "Map",
)

_MAP_OPACITY = 0.55
_IDC_RGB = (200, 0, 0)
_OTHER_RGB = (120, 160, 120)
_NAMESPACE = uuid.UUID("6f0d5c1e-6f7b-4f0e-9b61-1d0c5a7e8e01")
_HIDDEN_STATES = (PatchState.PENDING, PatchState.BACKGROUND)


@dataclass(frozen=True)
class Analysis:
    """A finished analysis and all that its exports say of its origin.

    Attributes
    ----------
    image : str
        What stands for the slide in the files: its file name, or a part of its identity.
    slide : dict
        As the engine describes it.
    overview : ndarray of uint8, shape (height, width, 3)
        The extent that the grid covers.
    overview_px_l0 : float
        Side of one of its pixels, level-0 pixels.
    tissue, versions, provider : dict
        As the engine reports them.
    map_kind : {"patch", "context"}
    notes : tuple of str
        What a reader of the overlay should know.
    is_recalled : bool
        Everything had been computed by an earlier run.
    """

    image: str
    slide: dict[str, Any]
    model: ModelFile
    map: ProbabilityMap
    overview: npt.NDArray[np.uint8]
    overview_px_l0: float
    tissue: dict[str, Any]
    provider: dict[str, Any]
    versions: dict[str, str]
    threshold: float
    map_kind: str
    notes: tuple[str, ...] = ()
    is_recalled: bool = False

    @classmethod
    def of(
        cls, record: RunRecord, model: ModelFile, image: str, threshold: float, map_kind: str
    ) -> Analysis:
        """Take a finished run."""
        assert record.map is not None
        return cls(
            image=image,
            slide=record.slide,
            model=model,
            map=record.map,
            overview=record.overview,
            overview_px_l0=record.overview_px_l0,
            tissue=record.plan["tissue"],
            provider=record.plan["provider"],
            versions=record.plan["versions"],
            threshold=threshold,
            map_kind=map_kind,
            is_recalled=record.plan["restored_blocks"] == record.plan["blocks"],
            notes=tuple(it.removeprefix(f"{record.slide['file']}: ") for it in record.notes),
        )

    @property
    def mpp(self) -> tuple[float, float]:
        """Level-0 resolution (x, y), µm per pixel."""
        return self.slide["mpp_x"], self.slide["mpp_y"]

    def identifier(self, part: str) -> str:
        """Return the UUID of a part of this analysis: the same whenever it is exported."""
        # The grid's step stands for the resolution: another one makes other patches.
        step = f"{self.map.grid.step_x_l0!r}x{self.map.grid.step_y_l0!r}"
        key = f"{self.slide['identity']}/{self.model.sha256}/{step}/{self.map_kind}/{part}"
        return str(uuid.uuid5(_NAMESPACE, key))

    def provenance(self) -> dict[str, Any]:
        """Return where the numbers come from, without the files' hashes."""
        described = ("identity", "width_l0", "height_l0", "mpp_x", "mpp_y", "mpp_source", "vendor")
        card = self.model.card
        return {
            "app_version": __version__,
            "slide": {
                **{name: self.slide[name] for name in described},
                "identity_kind": "sha256 of sizes, ends and 64 samples per file",
            },
            "model": {
                "name": card.name,
                "version": card.version,
                "sha256": self.model.sha256,
                "recipe": card.recipe,
                "spacing_um_px": card.spacing_um_px,
                "card": card.without_golden(),
            },
            "provider": self.provider,
            "threshold": self.threshold,
            "map": self.map_kind,
            "grid": self.map.grid.as_dict(),
            "tissue": self.tissue,
            "counts": self.map.counts(),
            "versions": self.versions,
            "notice": RESEARCH_USE_NOTICE,
        }


def write_folder(folder: Path, analysis: Analysis, regions: Iterable[Region]) -> None:
    """Write the six files.

    Each is written to a temporary name, fsynced and renamed; ``provenance.json``, which names the
    hashes of the others, comes last. A kill at any moment leaves no file that looks complete and
    is not.

    Raises
    ------
    OutputError
        The folder or a file cannot be written; files that were there before are untouched.
    """
    write: tuple[Callable[[BinaryIO], None], ...] = (
        lambda file: _write_regions(file, analysis, regions),
        lambda file: _write_patches(file, analysis.map),
        lambda file: _write_geojson(file, analysis),
        lambda file: _write_overlay(file, analysis),
        lambda file: _write_ome_tiff(file, analysis),
    )
    writers = dict(zip(FILES, write, strict=True))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as cleanup:
            temporary = {name: _temporary(folder, name, cleanup) for name in (*writers, PROVENANCE)}
            hashes = {name: _write(temporary[name], write) for name, write in writers.items()}
            document = {**analysis.provenance(), "files": hashes}
            text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
            _write(temporary[PROVENANCE], lambda file: _put(file, text))
            for name in temporary:
                if (folder / name).is_dir():  # found before the first file is replaced
                    raise IsADirectoryError(errno.EISDIR, f"{name} is a folder")
            for name, path in temporary.items():
                path.replace(folder / name)
        _sync_folder(folder)
    except OSError as error:
        raise OutputError(
            f"{folder}: The results cannot be written ({error.strerror or error}). Choose "
            "another folder with --out, or free some space; the analysis itself is kept."
        ) from error


def verify_folder(folder: Path) -> dict[str, Any]:
    """Prove an exported folder intact and return its provenance.

    Raises
    ------
    ExportError
        A file is missing or was changed, or the provenance is unreadable.
    """
    try:
        document = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
        hashes = dict(document["files"])
        subject = (document["slide"]["identity"], document["model"]["sha256"])
    except OSError as error:
        raise ExportError(
            f"{folder.name}: There is no readable {PROVENANCE} ({error.strerror}). Give the folder "
            "of one slide; if this is one, the export is incomplete: analyze the slide again."
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ExportError(f"{folder.name}: {PROVENANCE} is damaged ({error!r}).") from error
    if not all(isinstance(part, str) for part in subject):
        raise ExportError(f"{folder.name}: {PROVENANCE} is damaged.")
    missing = sorted(set(FILES) - hashes.keys())
    if missing:
        raise ExportError(f"{folder.name}: {PROVENANCE} does not name {', '.join(missing)}.")
    for name, expected in hashes.items():
        if not isinstance(name, str) or Path(name).name != name:
            raise ExportError(f"{folder.name}: {PROVENANCE} names a file outside the folder.")
        try:
            with (folder / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ExportError(f"{folder.name}: {name} is missing ({error.strerror}).") from error
        if found != expected:
            raise ExportError(f"{folder.name}: {name} is not the file that was exported.")
    return dict(document)


def _write_patches(file: BinaryIO, probability_map: ProbabilityMap) -> None:
    rows = []
    for row, col, box, state, millionths in _patches(probability_map):
        x, y, width, height = box
        if state is PatchState.OK:
            values = (_six_decimals(MILLIONTHS - millionths), _six_decimals(millionths))
        else:
            values = ("", "")
        rows.append((x, y, width, height, *values, row, col, state.label))
    _put(file, _csv(PATCH_COLUMNS, rows))


def _write_regions(file: BinaryIO, analysis: Analysis, regions: Iterable[Region]) -> None:
    card = analysis.model.card
    tail = (
        repr(analysis.threshold),
        _text(card.name),
        analysis.model.sha256,
        repr(analysis.mpp[0]),
        analysis.slide["mpp_source"],
        analysis.provider["used"],
        analysis.map_kind,
    )
    rows = []
    for region in [*regions, whole_slide(analysis.map.grid)]:
        figures = measure(region, analysis.map, analysis.mpp, analysis.threshold)
        head = (analysis.image, region.name, region.classification, region.shape.roi)
        rows.append((*map(_text, head), *map(_number, _in_order(figures)), *tail))
    _put(file, _csv(REGION_COLUMNS, rows))


def _in_order(figures: RegionStatistics) -> tuple[float | None, ...]:
    return tuple(vars(figures).values())


def _write_geojson(file: BinaryIO, analysis: Analysis) -> None:
    grid = analysis.map.grid
    box = (grid.origin_x_l0, grid.origin_y_l0, grid.width_l0, grid.height_l0)
    metadata = {
        "origin": "level 0, top left of the whole image (not of its bounds)",
        "slide_identity": analysis.slide["identity"],
        "model": analysis.model.card.name,
        "model_sha256": analysis.model.sha256,
        "mpp_x": repr(analysis.mpp[0]),
        "mpp_y": repr(analysis.mpp[1]),
        "mpp_source": analysis.slide["mpp_source"],
        "threshold": repr(analysis.threshold),
        "provider": analysis.provider["used"],
        "map": analysis.map_kind,
        "notice": RESEARCH_USE_NOTICE,
    }
    properties = {"objectType": "annotation", "name": "IDC Desktop", "isLocked": True}
    enclosing = _feature(analysis.identifier("extent"), box, {**properties, "metadata": metadata})
    _put(file, '{"type":"FeatureCollection","features":[\n' + _compact(enclosing))
    for row, col, patch, state, millionths in _patches(analysis.map):
        if state is not PatchState.OK:
            continue
        is_idc = millionths / MILLIONTHS >= analysis.threshold
        tile = {
            "objectType": "tile",
            "isLocked": True,
            "classification": {
                "name": "IDC" if is_idc else "Other",
                "color": list(_IDC_RGB if is_idc else _OTHER_RGB),
            },
            "measurements": {
                "prob_Other": (MILLIONTHS - millionths) / MILLIONTHS,
                "prob_IDC": millionths / MILLIONTHS,
            },
        }
        _put(file, ",\n" + _compact(_feature(analysis.identifier(f"{row}/{col}"), patch, tile)))
    _put(file, "\n]}\n")


def _write_ome_tiff(file: BinaryIO, analysis: Analysis) -> None:
    grid, size_um = analysis.map.grid, analysis.model.card.patch_size_um
    provenance = analysis.provenance()
    del provenance["model"]["card"]
    metadata = {
        # tifffile's own UUID would hold the time and this machine's network address.
        "UUID": analysis.identifier("probability.ome.tiff"),
        "axes": "YX",
        "Name": analysis.image,
        "Description": f"P(IDC), one pixel per patch, NaN = not analyzed. {RESEARCH_USE_NOTICE}",
        "PhysicalSizeX": size_um,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": size_um,
        "PhysicalSizeYUnit": "µm",
        "Channel": {"Name": ["IDC"]},
        "MapAnnotation": {
            "Namespace": "idc-desktop/provenance",
            "origin_x_l0": str(grid.origin_x_l0),
            "origin_y_l0": str(grid.origin_y_l0),
            "provenance": _compact(provenance),
        },
    }
    image = analysis.map.probabilities.astype(np.float32)
    tifffile.imwrite(file, image, ome=True, metadata=metadata, photometric="minisblack")


def _write_overlay(file: BinaryIO, analysis: Analysis) -> None:
    grid = analysis.map.grid
    picture = Image.fromarray(analysis.overview).convert("RGBA")
    small = Image.fromarray(colorize(analysis.map, _MAP_OPACITY))
    px_l0 = analysis.overview_px_l0
    # The cells under the picture, in fractions of a cell.
    right = min(float(grid.cols), picture.width * px_l0 / grid.step_x_l0)
    bottom = min(float(grid.rows), picture.height * px_l0 / grid.step_y_l0)
    covered = small.resize(picture.size, Image.Resampling.NEAREST, box=(0.0, 0.0, right, bottom))
    picture.alpha_composite(covered)
    _draw_outline(picture, analysis)
    page = _with_legend(picture.convert("RGB"), analysis, px_l0 * analysis.mpp[0])
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", RESEARCH_USE_NOTICE)
    info.add_text("Model SHA-256", analysis.model.sha256)
    info.add_text("Slide identity", analysis.slide["identity"])
    # Level 1 is several times faster than the default and a fifth larger.
    page.save(file, "PNG", pnginfo=info, compress_level=1)


def _draw_outline(picture: Image.Image, analysis: Analysis) -> None:
    """Draw the border of the area that counts as IDC."""
    grid, px_l0 = analysis.map.grid, analysis.overview_px_l0
    step_x, step_y = grid.step_x_l0 / px_l0, grid.step_y_l0 / px_l0
    draw = ImageDraw.Draw(picture)
    width = max(1, picture.width // 900)
    upper, left = outline(analysis.map, analysis.threshold)
    for row, col in upper.tolist():
        y = row * step_y
        draw.line([(col * step_x, y), ((col + 1) * step_x, y)], "black", width)
    for row, col in left.tolist():
        x = col * step_x
        draw.line([(x, row * step_y), (x, (row + 1) * step_y)], "black", width)


def _with_legend(picture: Image.Image, analysis: Analysis, um_per_px: float) -> Image.Image:
    """Set the picture above a strip with colour bar, scale bar, origin and notice."""
    size = max(12, min(40, picture.width // 60))
    font = ImageFont.load_default(size)
    lines = _legend_lines(analysis)
    gap, bar_width = size // 2, max(120, picture.width // 5)
    text_width = max(int(font.getlength(line)) for line in lines)
    width = max(picture.width, text_width + bar_width + 6 * gap)
    line_height = size + gap
    height = picture.height + line_height * max(len(lines), 4) + 2 * gap
    page = Image.new("RGB", (width, height), "white")
    page.paste(picture, ((width - picture.width) // 2, 0))
    draw = ImageDraw.Draw(page)
    top = picture.height + gap
    for number, line in enumerate(lines):
        draw.text((bar_width + 5 * gap, top + number * line_height), line, "black", font)
    left = 2 * gap
    bar = Image.fromarray(lookup_table()[None]).resize((bar_width, size))
    page.paste(bar, (left, top))
    at = left + round(analysis.threshold * (bar_width - 1))
    draw.line([(at, top - gap // 2), (at, top + size + gap // 2)], "red", max(1, size // 8))
    below = top + line_height
    draw.text((left, below), "0", "black", font)
    draw.text((left + bar_width // 2, below), "P(IDC)", "black", font, anchor="ma")
    draw.text((left + bar_width, below), "1", "black", font, anchor="ra")
    length_um = _round_length(bar_width * um_per_px)
    ruler = round(length_um / um_per_px)
    level = top + 3 * line_height
    draw.rectangle([left, level, left + ruler, level + max(2, size // 5)], "black")
    draw.text((left, level - line_height), f"{length_um / 1000:g} mm", "black", font)
    return page


def _legend_lines(analysis: Analysis) -> list[str]:
    # Pillow's built-in font, the only one that is everywhere, has no µ.
    card, counts, slide = analysis.model.card, analysis.map.counts(), analysis.slide
    failed = counts["failed"] + counts["invalid_output"]
    figures = measure(
        whole_slide(analysis.map.grid), analysis.map, analysis.mpp, analysis.threshold
    )
    fraction = figures.idc_fraction
    share = "" if fraction is None else f", {100 * fraction:.1f} % of the analyzed area"
    return [
        f"{analysis.image}   model {card.name} {card.version} ({analysis.model.sha256[:12]})",
        f"outlined: p at or above {analysis.threshold:.3f} (red mark), "
        f"{figures.idc_area_um2 / 1e6:.2f} mm2{share}",
        f"{counts['ok']:,} patches analyzed, "
        + (f"{failed:,} failed (pink)" if failed else "none failed"),
        f"{slide['mpp_x']:g} micron/px from the {slide['mpp_source']}   "
        f"model at {card.spacing_um_px:g} micron/px   provider {analysis.provider['used']}",
        *analysis.notes,
        RESEARCH_USE_NOTICE,
    ]


def _round_length(at_most_um: float) -> float:
    """Return the largest of 1, 2, 5 x 10^n that is not above the given length."""
    power = 10.0 ** np.floor(np.log10(at_most_um))
    return float(max(step * power for step in (1, 2, 5) if step * power <= at_most_um))


def _patches(
    probability_map: ProbabilityMap,
) -> Iterator[tuple[int, int, tuple[int, int, int, int], PatchState, int]]:
    """Yield (row, col, (x, y, width, height), state, millionths) of all but background."""
    grid = probability_map.grid
    x, y = grid.column_edges_px().tolist(), grid.row_edges_px().tolist()
    shown = ~np.isin(probability_map.states, _HIDDEN_STATES)
    for row, col in np.argwhere(shown).tolist():
        box = (x[col], y[row], x[col + 1] - x[col], y[row + 1] - y[row])
        state = PatchState(probability_map.states[row, col])
        yield row, col, box, state, int(probability_map.millionths[row, col])


def _feature(
    identifier: str, box: tuple[int, int, int, int], properties: dict[str, Any]
) -> dict[str, Any]:
    x, y, width, height = box
    right, bottom = x + width, y + height
    ring = [[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "id": identifier, "geometry": geometry, "properties": properties}


def _six_decimals(millionths: int) -> str:
    return f"{millionths // MILLIONTHS}.{millionths % MILLIONTHS:06d}"


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)


def _text(value: str) -> str:
    """Disarm what a spreadsheet would run as a formula."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t")) else value


def _csv(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    sink = _RowSink()
    writer = csv.writer(sink)
    writer.writerow(columns)
    writer.writerows(rows)
    return "".join(sink.rows)


class _RowSink:
    """Takes the rows of a `csv.writer` and ends them with LF.

    Told to end rows with LF, the writer would not quote a CR inside a text (Python < 3.13).
    """

    def __init__(self) -> None:
        self.rows: list[str] = []

    def write(self, row: str) -> None:
        self.rows.append(row.removesuffix("\r\n") + "\n")


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _put(file: BinaryIO, text: str) -> None:
    # A file name may hold bytes that are no text; they are shown as replacement marks.
    file.write(text.encode("utf-8", "replace"))


def _temporary(folder: Path, name: str, cleanup: contextlib.ExitStack) -> Path:
    path = folder / f".{name}.tmp"  # a fixed name: what a kill leaves is used again
    cleanup.callback(path.unlink, missing_ok=True)
    return path


def _write(path: Path, write: Callable[[BinaryIO], None]) -> str:
    """Write and fsync a file; return its SHA-256."""
    with path.open("w+b") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder, and needs no such call
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
