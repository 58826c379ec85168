"""The viewer's decoder: a child process that opens one slide and sends pixels for the screen.

Started by `supervisor` with ``{"slide", "mpp"}`` as its job. It answers ``slide`` once, then
``pixels`` or ``failed`` for each command, in any order, or ``error`` if the file is no longer the
one that was opened. Commands:

- ``tile`` (zoom, col, row);
- ``patch`` (spacing_um_px, row, col): the pixels that a model sees of a grid cell and of its eight
  neighbours, 150 x 150;
- ``associated`` (name): the label, the macro image … They are read only when asked for, since they
  may show a patient's name.

A *zoom* is a power of two: at zoom z a pixel of a tile covers 2^z level-0 pixels, whatever levels
the slide has. Tiles are 256 x 256, counted from the slide's top left.
"""

from __future__ import annotations

import queue
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from idc_desktop.child import Listen, Outbox, serve
from idc_desktop.errors import IdcError, SlideChangedError, SlideReadError, slide_replaced
from idc_desktop.slide import UNREADABLE_GREY, Rgb, Slide
from idc_desktop.wire import TILE_PX, Message

_THREADS = 2
_LARGEST_READ_PX = 2048  # a side; a tile that covers more is read in pieces
_SAME_SCALE = 1.001


def main() -> None:
    """Serve the slide that arrives on stdin."""
    serve(run)


def run(job: Message, outbox: Outbox, listen: Listen) -> None:
    """Open the slide and answer commands until the parent closes the pipe."""
    commands: queue.SimpleQueue[Message] = queue.SimpleQueue()
    listen(commands.put)
    slide = Slide(Path(job["slide"]), job["mpp"])
    description = slide.describe().as_dict()
    outbox.send({"event": "slide", **description, "associated": list(slide.associated_names)})

    def work() -> None:
        while True:
            command = commands.get()
            # Named before the decoder can die of it, so that the parent knows what killed it.
            request = command["request"]
            outbox.send({"event": "start", "request": request})
            try:
                pixels = _PIXELS[command["command"]](slide, command)
                slide.check_unchanged()  # after: these pixels may be another file's
            except SlideChangedError as error:
                message = str(slide_replaced(slide.name))
                outbox.send({"event": "error", "kind": type(error).__name__, "message": message})
                return
            except IdcError as error:
                outbox.send({"event": "failed", "request": request, "message": str(error)})
            else:
                height, width = pixels.shape[:2]
                answer = {"event": "pixels", "request": request, "width": width, "height": height}
                outbox.send(answer, _to_rgb32(pixels))

    for _ in range(_THREADS - 1):
        threading.Thread(target=work, daemon=True).start()
    work()


def read_tile(slide: Slide, zoom: int, col: int, row: int) -> Rgb:
    """Read one tile, shape (256, 256, 3); white beyond the slide."""
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
    return tile


def read_neighbourhood(slide: Slide, spacing_um_px: float, row: int, col: int) -> Rgb:
    """Read the very pixels that a model sees of 3 x 3 grid cells.

    White beyond the grid, grey where nothing can be read.

    Returns
    -------
    ndarray of uint8, shape (150, 150, 3)
        The cell (row, col) in the middle.
    """
    from idc_desktop.card import PATCH_SIZE_PX as SIDE
    from idc_desktop.grid import Block
    from idc_desktop.tiling import PatchReader, TissueSettings

    reader = PatchReader(slide, spacing_um_px, TissueSettings(enabled=False))
    around = np.full((3 * SIDE, 3 * SIDE, 3), 255, np.uint8)
    for down in range(3):
        for across in range(3):
            near_row, near_col = row + down - 1, col + across - 1
            if 0 <= near_row < reader.grid.rows and 0 <= near_col < reader.grid.cols:
                part = around[down * SIDE : (down + 1) * SIDE, across * SIDE : (across + 1) * SIDE]
                # One by one: a damaged neighbour must not hide the others.
                try:
                    _, patches = reader.read(Block(0, near_row, near_col, 1, 1))
                    part[:] = patches[0]
                except SlideReadError:
                    part[:] = UNREADABLE_GREY
    return around


def _tile(slide: Slide, command: Message) -> Rgb:
    return read_tile(slide, command["zoom"], command["col"], command["row"])


def _patch(slide: Slide, command: Message) -> Rgb:
    return read_neighbourhood(slide, command["spacing_um_px"], command["row"], command["col"])


def _associated(slide: Slide, command: Message) -> Rgb:
    return slide.read_associated(command["name"])


_PIXELS = {"tile": _tile, "patch": _patch, "associated": _associated}


def _to_rgb32(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return the bytes of Qt's 32-bit RGB format on little-endian machines: B, G, R, 255."""
    out = np.full((*pixels.shape[:2], 4), 255, np.uint8)
    out[..., :3] = pixels[..., ::-1]
    return out.tobytes()


if __name__ == "__main__":
    main()
