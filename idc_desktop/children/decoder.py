"""The viewer's decoder: a child process that opens one slide and sends pixels for the screen.

Started by `supervisor` with a `ViewJob`. It answers `SlideOpened` once, then `Pixels` or
`Unreadable` for each command, in any order, and `Reading` meanwhile, or `Failure` if the file is no
longer the one that was opened.

A *zoom* is a power of two: at zoom z a pixel of a tile covers 2^z level-0 pixels, whatever levels
the slide has. Tiles are 256 x 256, counted from the slide's top left.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from idc_desktop.children.opening import open_slide
from idc_desktop.children.serving import Listen, Outbox, serve
from idc_desktop.errors import IdcError, SlideChangedError, SlideReadError, slide_replaced
from idc_desktop.models.patch_size import PatchSize
from idc_desktop.processes.decoder_messages import (
    TILE_PX,
    Pixels,
    ReadAssociated,
    Reading,
    ReadPatch,
    ReadTile,
    Unreadable,
    ViewJob,
)
from idc_desktop.processes.message import MAX_TEXT, Command, JobMessage, SlideOpened, Started
from idc_desktop.slides.levels import UNREADABLE_GREY
from idc_desktop.slides.reader import Rgb, Slide
from idc_desktop.storage.run_files import adopt

_THREADS = 2
_LARGEST_READ_PX = 2048  # a side; a tile that covers more is read in pieces
_SAME_SCALE = 1.001

OnPart = Callable[[int], object]


def _no_matter(parts_left: int) -> None:
    """Tell nobody."""


def main() -> None:
    """Serve the slide that arrives on stdin."""
    serve(run, (ViewJob,))


def run(job: JobMessage, outbox: Outbox, listen: Listen) -> None:
    """Open the slide and answer commands until the parent closes the pipe."""
    assert isinstance(job, ViewJob)
    commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
    listen(commands.put)
    slide = open_slide(outbox, job.slide, job.mpp)
    # Before the window looks for the slide's regions.
    adopt(Path(job.data_folder), slide.identity(), slide.former_identities)
    outbox.send(SlideOpened(slide.describe(), slide.associated_names))

    def work() -> None:
        try:
            while True:
                _answer(slide, commands.get(), outbox)
        except Exception as error:  # noqa: BLE001 - in whatever thread: the parent must hear of it
            outbox.give_up(error)

    for _ in range(_THREADS - 1):
        threading.Thread(target=work, daemon=True).start()
    work()


def read_tile(slide: Slide, zoom: int, col: int, row: int, on_part: OnPart = _no_matter) -> Rgb:
    """Read one tile, shape (256, 256, 3); white beyond the slide.

    Parameters
    ----------
    on_part : callable
        Told how many parts are left, after each but the last: where there is no pyramid, a tile
        that covers much of it takes minutes.
    """
    scale = 2**zoom
    fine = [k for k, it in enumerate(slide.levels) if it.downsample <= scale * _SAME_SCALE]
    level = max(fine, key=lambda k: slide.levels[k].downsample)
    ratio = scale / slide.levels[level].downsample
    if ratio < _SAME_SCALE:
        return slide.read_region(level, col * TILE_PX, row * TILE_PX, TILE_PX, TILE_PX)
    tile = np.empty((TILE_PX, TILE_PX, 3), np.uint8)
    piece = TILE_PX
    while piece > 1 and piece * ratio > _LARGEST_READ_PX:
        piece //= 2
    parts = (TILE_PX // piece) ** 2
    for top in range(0, TILE_PX, piece):
        for left in range(0, TILE_PX, piece):
            x, y = (col * TILE_PX + left) * ratio, (row * TILE_PX + top) * ratio
            first_x, first_y = int(x), int(y)
            side = int(piece * ratio) + 2
            source = Image.fromarray(slide.read_region(level, first_x, first_y, side, side))
            box = (
                x - first_x,
                y - first_y,
                x - first_x + piece * ratio,
                y - first_y + piece * ratio,
            )
            reduced = source.resize((piece, piece), Image.Resampling.BOX, box=box)
            tile[top : top + piece, left : left + piece] = np.asarray(reduced)
            parts -= 1
            if parts:
                on_part(parts)
    return tile


def read_neighbourhood(
    slide: Slide, patch: PatchSize, row: int, col: int, on_part: OnPart = _no_matter
) -> Rgb:
    """Read the very pixels that a model sees of 3 x 3 grid cells.

    White beyond the grid, grey where nothing can be read. `on_part` as for `read_tile`.

    Returns
    -------
    ndarray of uint8, shape (3 side, 3 side, 3)
        The cell (row, col) in the middle.
    """
    from idc_desktop.analysis.tiling import PatchReader
    from idc_desktop.maps.grid import Block
    from idc_desktop.maps.tissue import TissueSettings

    reader, side = PatchReader(slide, patch, TissueSettings(enabled=False)), patch.side_px
    around = np.full((3 * side, 3 * side, 3), 255, np.uint8)
    for down in range(3):
        for across in range(3):
            near_row, near_col = row + down - 1, col + across - 1
            if 0 <= near_row < reader.grid.rows and 0 <= near_col < reader.grid.cols:
                part = around[down * side : (down + 1) * side, across * side : (across + 1) * side]
                # One by one: a damaged neighbour must not hide the others.
                try:
                    _, patches = reader.read(Block(0, near_row, near_col, 1, 1))
                    part[:] = patches[0]
                except SlideReadError:
                    part[:] = UNREADABLE_GREY
            if left := 8 - 3 * down - across:
                on_part(left)
    return around


def _answer(slide: Slide, command: Command, outbox: Outbox) -> None:
    """Read what was asked for and send it, or why it cannot be read.

    Raises
    ------
    SlideError
        The file is no longer the one that was opened.
    """
    assert isinstance(command, ReadTile | ReadPatch | ReadAssociated)
    outbox.send(Started(command.request))
    try:
        pixels = _read(slide, command, lambda left: outbox.send(Reading(command.request, left)))
        slide.check_unchanged()  # after: these pixels may be another file's
    except SlideChangedError as error:
        raise slide_replaced(slide.name) from error
    except IdcError as error:
        outbox.send(Unreadable(command.request, str(error)[:MAX_TEXT]))
    else:
        height, width = pixels.shape[:2]
        outbox.send(Pixels(command.request, width, height, payload=_to_rgb32(pixels)))


def _read(slide: Slide, command: ReadTile | ReadPatch | ReadAssociated, on_part: OnPart) -> Rgb:
    match command:
        case ReadTile(_, zoom, col, row):
            return read_tile(slide, zoom, col, row, on_part)
        case ReadPatch(_, patch, row, col):
            return read_neighbourhood(slide, patch, row, col, on_part)
        case ReadAssociated(_, name):
            return slide.read_associated(name)


def _to_rgb32(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return the bytes of Qt's 32-bit RGB format on little-endian machines: B, G, R, 255."""
    out = np.full((*pixels.shape[:2], 4), 255, np.uint8)
    out[..., :3] = pixels[..., ::-1]
    return out.tobytes()


if __name__ == "__main__":
    main()
