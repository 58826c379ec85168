"""A whole-slide image: the only door to OpenSlide.

Frames: names ending in ``_l0`` are level-0 pixels, origin top left, sizes (width, height); arrays
are (rows, cols, 3), RGB, uint8, with what the scan does not cover in white.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openslide
from PIL import Image

from idc_desktop.closing import Closing
from idc_desktop.errors import ResolutionError, SlideError, SlideReadError
from idc_desktop.plain_text import one_line
from idc_desktop.slides import preflight
from idc_desktop.slides.description import MAX_SIDE_PX, LevelDescription, SlideDescription
from idc_desktop.slides.levels import UNREADABLE_GREY, Level, Overview, plan_overview
from idc_desktop.slides.placement import bounds_of, glass_middle_of
from idc_desktop.slides.resolution import Mpp, find_resolution, positive
from idc_desktop.slides.slide_files import SlideFiles

Rgb = npt.NDArray[np.uint8]

OPENSLIDE_VERSION: str = openslide.__library_version__

_MIN_STRIP_ROWS, _MAX_STRIP_ROWS = 256, 4096  # of a level, read at once for an overview
_MAX_PIECE_WIDTH, _MAX_PIECE_PX = 2048, 1 << 21  # of a level, read by one thread
_ANCHOR_RASTER_PX = 256
_SALVAGED_TILE_PX = 256
_MAX_ASSOCIATED_PX = 64 << 20
_MAX_TILE_PX = 16 << 20
_USUAL_CACHE_BYTES = 32 << 20  # OpenSlide's own; what it cannot hold is decoded for each read
_CACHED_TILES = 4  # as many as meet in a corner


def _no_matter(lost_px: int) -> None:
    """Tell nobody."""


class Slide(Closing):
    """An open slide, for use by several threads at once.

    Parameters
    ----------
    path : Path
        A slide file, or a folder that holds the files of one DICOM series.
    mpp_um : float, optional
        Resolution given by the user, µm per level-0 pixel; takes the place of the file's.

    Attributes
    ----------
    path : Path
        The file that was opened.
    vendor : str
    width_l0, height_l0 : int
    levels : tuple of Level
        Level 0 first. One that does not have the slide's shape is left out: what it shows of it
        is not known.
    bounds_l0 : (x, y, width, height) or None
        The part of level 0 that was scanned, where the file says so.
    objective_power : float or None
    warnings : tuple of str
        What a user should know before trusting a result.

    Raises
    ------
    SlideError
        The file fails a check, is of no supported format, or is damaged.
    SlideChangedError
        It was replaced while it was being opened.
    ResolutionError
        `mpp_um` is not a plausible resolution.
    """

    def __init__(self, path: Path, mpp_um: float | None = None) -> None:
        self.path = preflight.resolve(path)
        self._files = SlideFiles(self.path)
        self._report = preflight.inspect_tiff(self.path)
        self._lock = threading.Lock()
        self._cache: openslide.OpenSlideCache | None = None
        self._handle = self._open()
        properties = self._handle.properties
        self.vendor = properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown")
        sizes = zip(self._handle.level_dimensions, self._handle.level_downsamples, strict=True)
        found = [
            Level(number, *size, downsample) for number, (size, downsample) in enumerate(sizes)
        ]
        self.width_l0, self.height_l0 = found[0].width, found[0].height
        if not found[0].has_possible_size:
            raise SlideError(
                f"{self.path.name}: It claims {self.width_l0:,} x {self.height_l0:,} px; a slide "
                f"has 1 to {MAX_SIDE_PX:,} px a side. The file is damaged."
            )
        self.levels = tuple(
            it for it in found if it.has_possible_size and it.is_reduction_of(found[0])
        )
        self._make_room_for_tiles()
        self.bounds_l0 = bounds_of(properties, (self.width_l0, self.height_l0))
        self.objective_power = positive(properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER))
        self._files.confirm(self.vendor)
        if path.is_dir():
            self._files.refuse_other_series()
        self.check_unchanged()
        warnings = [] if self._report is None else [*self._report.problems]
        if self._report is not None and self._report.truncation:
            warnings.append(self._report.truncation)
        warnings += [
            f"{name} is missing: what it holds cannot be read. Copy the slide with all its files."
            for name in self._files.missing
        ]
        warnings += [
            f"Level {it.number} ({it.width:,} x {it.height:,} px) does not have the shape of the "
            "slide and is not used."
            for it in found
            if it not in self.levels
        ]
        if properties.get("dicom.ImageType[3]") == "RESAMPLED":
            warnings.append(
                "Its largest level was reduced from a larger one, which is not among the files. "
                "Copy the slide with all its files."
            )
        found_mpp = find_resolution(
            self.name,
            (
                properties.get(openslide.PROPERTY_NAME_MPP_X),
                properties.get(openslide.PROPERTY_NAME_MPP_Y),
            ),
            properties.get(openslide.PROPERTY_NAME_COMMENT, ""),
            (self.width_l0, self.height_l0),
            mpp_um,
        )
        self.mpp, self._mpp_problem = found_mpp.mpp, found_mpp.problem
        size_l0 = (self.width_l0, self.height_l0)
        self._glass_middle_l0 = glass_middle_of(properties, size_l0, self.mpp)
        self.warnings = (*warnings, *found_mpp.warnings)

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self.path.name

    @property
    def extent_l0(self) -> tuple[int, int, int, int]:
        """The bounds where the file has them, else the whole slide: (x, y, width, height)."""
        return self.bounds_l0 or (0, 0, self.width_l0, self.height_l0)

    def require_mpp(self) -> Mpp:
        """Return the resolution.

        Raises
        ------
        ResolutionError
            It is unknown.
        """
        if self.mpp is None:
            raise ResolutionError(
                f"{self.name}: The resolution is unknown ({self._mpp_problem}). Give it with --mpp "
                f"(µm per level-0 pixel).{self._proposal}"
            )
        return self.mpp

    @property
    def _proposal(self) -> str:
        usual = self.describe().mpp_of_objective
        if usual is None:
            return ""
        return f" Its objective, {self.objective_power:g}x, suggests {usual:.3g}."

    def level_mpp(self, level: int) -> tuple[float, float]:
        """Return a level's resolution (x, y), µm per pixel; `ResolutionError` if unknown."""
        mpp, downsample = self.require_mpp(), self.levels[level].downsample
        return mpp.x * downsample, mpp.y * downsample

    def coarsest_level(self, mpp_um: float) -> int | None:
        """Return the coarsest level that is no coarser than `mpp_um` on either axis, if any."""
        fine = [k for k in range(len(self.levels)) if max(self.level_mpp(k)) <= mpp_um]
        return max(fine, key=lambda k: self.levels[k].downsample) if fine else None

    def read_region(self, level: int, x: int, y: int, width: int, height: int) -> Rgb:
        """Read a rectangle of a level.

        Parameters
        ----------
        level : int
        x, y, width, height : int
            In pixels of that level; may reach beyond the slide, where it is white.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)

        Raises
        ------
        SlideReadError
            The region cannot be decoded. The slide stays usable: OpenSlide's handles fail for
            ever after their first error, so a fresh one takes the place of the failed one.
        SlideError
            The slide cannot be read at all any more.
        """
        if self.levels[level].downsample.is_integer():
            return self._read_from(level, x, y, width, height)
        # OpenSlide wants level-0 coordinates, so most pixels of this level can only be reached
        # with a shift of a fraction of a pixel, which it interpolates. Reading from a fixed raster
        # of anchors makes that shift, and so the pixels, the same for every request.
        region = np.empty((height, width, 3), np.uint8)
        side = _ANCHOR_RASTER_PX
        for top in range(y // side * side, y + height, side):
            for left in range(x // side * side, x + width, side):
                right, bottom = min(left + side, x + width), min(top + side, y + height)
                part = self._read_from(level, left, top, right - left, bottom - top)
                first_x, first_y = max(left, x), max(top, y)
                region[first_y - y : bottom - y, first_x - x : right - x] = part[
                    first_y - top :, first_x - left :
                ]
        return region

    def _read_from(self, level: int, x: int, y: int, width: int, height: int) -> Rgb:
        number, downsample = self.levels[level].number, self.levels[level].downsample
        location = (round(x * downsample), round(y * downsample))
        with self._lock:
            handle = self._handle
        try:
            image = handle.read_region(location, number, (width, height))
        except openslide.OpenSlideError:
            # Another thread's error may have spoilt the handle: only a fresh one tells.
            image = self._read_afresh(handle, location, number, (width, height))
        pixels = np.asarray(image)
        alpha = pixels[..., 3]
        if alpha.min(initial=255) == 255:
            return pixels[..., :3]
        # Few pixels are neither opaque nor empty; to blend all of them takes much memory.
        blended = pixels[..., :3].copy()
        np.copyto(blended, 255, where=alpha[..., None] == 0)
        partly = (alpha > 0) & (alpha < 255)
        cover = alpha[partly, None].astype(np.uint16)
        blended[partly] = (blended[partly] * cover + 255 * (255 - cover) + 127) // 255
        return blended

    def overview(self, max_side_px: int) -> Overview:
        """Plan a picture of the extent of at most `max_side_px` a side."""
        return plan_overview(self.levels, self.extent_l0, max_side_px)

    def overview_strips(
        self, plan: Overview, threads: int = 1, on_unreadable: Callable[[int], object] = _no_matter
    ) -> Iterator[Rgb]:
        """Yield the planned picture in strips from the top; memory does not grow with the slide.

        What cannot be decoded is grey.

        Parameters
        ----------
        threads : int
            How many pieces of a strip are read at once.
        on_unreadable : callable
            Told, before a strip, how many of its pixels are grey because they cannot be decoded.

        Raises
        ------
        SlideChangedError
            The slide's files changed; nothing read after that is yielded.
        """
        factor = plan.factor
        strip_rows = self._strip_rows(plan.level, factor)
        rows = strip_rows // factor
        cols = max(1, min(_MAX_PIECE_WIDTH, _MAX_PIECE_PX // strip_rows) // factor)

        def piece(row: int, col: int) -> tuple[Rgb, int]:
            pixels, lost_px = self._read_what_can_be(
                plan.level,
                plan.x + col * factor,
                plan.y + row * factor,
                min(cols, plan.width - col) * factor,
                min(rows, plan.height - row) * factor,
            )
            if factor > 1:
                pixels = np.asarray(Image.fromarray(pixels).reduce(factor))
            return pixels, lost_px // factor**2

        with ThreadPoolExecutor(threads) as pool:
            for row in range(0, plan.height, rows):
                read = pool.map(partial(piece, row), range(0, plan.width, cols))
                pieces, lost_px = zip(*read, strict=True)
                self.check_unchanged()
                if any(lost_px):
                    on_unreadable(sum(lost_px))
                yield np.concatenate(pieces, axis=1)

    def _strip_rows(self, level: int, factor: int) -> int:
        """Return how many rows of a level to read for the overview: a multiple of `factor`.

        A row of tiles that lies in two strips is decoded twice, since OpenSlide's cache does not
        hold one of a large level. So strips end where tiles do, if that is not too far.
        """
        unit = math.lcm(factor, self._tile_size(self.levels[level])[1])
        if unit > _MAX_STRIP_ROWS:
            return max(1, _MAX_STRIP_ROWS // factor) * factor
        return math.ceil(_MIN_STRIP_ROWS / unit) * unit

    def _tile_size(self, level: Level) -> tuple[int, int]:
        """Return the width and height of a level's tiles, as far as they are all alike."""
        name = f"openslide.level[{level.number}].tile"
        properties = self._handle.properties
        return int(properties.get(f"{name}-width", 1)), int(properties.get(f"{name}-height", 1))

    def _make_room_for_tiles(self) -> None:
        """Refuse tiles that are too large to be kept, and see to it that some of the others are."""
        width, height = max(map(self._tile_size, self.levels), key=math.prod)
        if width * height > _MAX_TILE_PX:
            raise SlideError(
                f"{self.name}: Its tiles have {width:,} x {height:,} px, too many to decode "
                "them again and again. Convert it to a pyramidal TIFF with tiles of 256 px."
            )
        if (needed_bytes := 4 * width * height * _CACHED_TILES) > _USUAL_CACHE_BYTES:
            self._cache = openslide.OpenSlideCache(needed_bytes)
            self._handle.set_cache(self._cache)

    @property
    def associated_names(self) -> tuple[str, ...]:
        """Names of the pictures that come with the scan, such as ``label`` and ``macro``."""
        return tuple(sorted(self._handle.associated_images))

    def read_associated(self, name: str) -> Rgb:
        """Read a picture that comes with the scan; it may show a patient's name.

        Raises
        ------
        SlideReadError
            There is none of this name, it is larger than 64 megapixels, or it cannot be decoded.
        """
        try:
            # Its size is known before it is decoded; a file can claim any size.
            size = [
                int(self._handle.properties.get(f"openslide.associated.{name}.{side}", 0))
                for side in ("width", "height")
            ]
            if math.prod(size) > _MAX_ASSOCIATED_PX:
                raise SlideReadError(f"The {name} image is too large ({size[0]} x {size[1]} px).")
            image = self._handle.associated_images[name]
        except KeyError as error:
            raise SlideReadError(f"There is no {name} image.") from error
        except openslide.OpenSlideError as error:
            self._renew(self._handle)
            raise SlideReadError(self._words(error)) from error
        white = Image.new("RGBA", image.size, "white")
        return np.asarray(Image.alpha_composite(white, image).convert("RGB"))

    def check_unchanged(self) -> None:
        """Raise `SlideChangedError` unless the slide's files are those that were opened."""
        self._files.check_unchanged()

    def identity(self) -> str:
        """Return what the slide is known by, the same wherever and under whatever name it lies.

        SHA-256 of the size, both ends and 64 samples of each of its files, as they were when it was
        opened: fast (some MiB are read whatever the size), blind to edits between the samples.
        """
        return self._files.identity

    def former_identities(self) -> list[str]:
        """Return what earlier versions knew the slide by, if it was something else."""
        return self._files.former_identities()

    def describe(self) -> SlideDescription:
        """Return what `info`, the window and the exports say of the slide."""
        mpp = self.mpp
        return SlideDescription(
            file=self.name,
            vendor=self.vendor,
            width_l0=self.width_l0,
            height_l0=self.height_l0,
            levels=tuple(
                LevelDescription(
                    width=level.width,
                    height=level.height,
                    downsample=level.downsample,
                    mpp_x=mpp.x * level.downsample if mpp else None,
                    mpp_y=mpp.y * level.downsample if mpp else None,
                )
                for level in self.levels
            ),
            mpp_x=mpp.x if mpp else None,
            mpp_y=mpp.y if mpp else None,
            mpp_source=mpp.source if mpp else None,
            objective_power=self.objective_power,
            bounds=self.bounds_l0,
            identity=self.identity(),
            identity_kind=self._files.identity_kind,
            warnings=self.warnings,
            glass_middle_l0=self._glass_middle_l0,
        )

    def close(self) -> None:
        """Close the slide; no other thread may be reading."""
        self._handle.close()

    def _read_what_can_be(
        self, level: int, x: int, y: int, width: int, height: int
    ) -> tuple[Rgb, int]:
        """Read a region, tile by tile where it cannot be as a whole; return what is lost, px."""
        try:
            return self.read_region(level, x, y, width, height), 0
        except SlideReadError:
            pixels = np.full((height, width, 3), UNREADABLE_GREY, np.uint8)
        lost_px = 0
        for top in range(0, height, _SALVAGED_TILE_PX):
            for left in range(0, width, _SALVAGED_TILE_PX):
                part = pixels[top : top + _SALVAGED_TILE_PX, left : left + _SALVAGED_TILE_PX]
                try:
                    part[:] = self.read_region(
                        level, x + left, y + top, part.shape[1], part.shape[0]
                    )
                except SlideReadError:
                    lost_px += part.shape[0] * part.shape[1]
        return pixels, lost_px

    def _open(self) -> openslide.OpenSlide:
        try:
            handle = openslide.OpenSlide(self.path)
        except openslide.OpenSlideUnsupportedFormatError as error:
            raise SlideError(
                f"{self.name}: {preflight.why_unsupported(self.path, self._report)}"
            ) from error
        except openslide.OpenSlideError as error:
            truncation = self._report.truncation if self._report is not None else None
            raise SlideError(
                f"{self.name}: "
                + (
                    truncation
                    or f"OpenSlide cannot open it ({self._words(error)}). The file is "
                    "damaged or uses an unsupported variant of its format."
                )
            ) from error
        if self._cache is not None:
            handle.set_cache(self._cache)
        return handle

    def _words(self, error: Exception) -> str:
        """Return an error's text in one printable line, without the slide's place and name.

        It may be kept, and decoders quote what they find in a damaged file.
        """
        text = str(error).replace(str(self.path.parent), "…").replace(self.name, "the slide")
        return one_line(text)

    def _read_afresh(
        self,
        failed: openslide.OpenSlide,
        location: tuple[int, int],
        number: int,
        size: tuple[int, int],
    ) -> Image.Image:
        # Handles are never closed here: OpenSlide aborts the process if one is closed while
        # another thread reads from it. The last reference to go closes it.
        self.check_unchanged()
        try:
            fresh = self._open()
            image = fresh.read_region(location, number, size)
        except (openslide.OpenSlideError, SlideError) as error:
            self._renew(failed)
            raise SlideReadError(self._words(error)) from error
        self._replace(failed, fresh)
        return image

    def _renew(self, failed: openslide.OpenSlide) -> None:
        """Put a fresh handle in the place of a failed one."""
        try:
            fresh = self._open()
        except SlideError as error:
            # It could be opened before: whatever OpenSlide says of its format, it is the disk.
            raise SlideError(
                f"{self.name}: It cannot be read any more. Check its disk or network drive. What "
                "was analyzed is kept: run the same command again."
            ) from error
        self._replace(failed, fresh)

    def _replace(self, failed: openslide.OpenSlide, fresh: openslide.OpenSlide) -> None:
        with self._lock:
            if self._handle is failed:
                self._handle = fresh
