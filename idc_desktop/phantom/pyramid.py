"""The phantom's file: a pyramid of five levels, in a TIFF of JPEG tiles."""

from __future__ import annotations

import hashlib
import io
import os
import struct
from collections.abc import Sequence
from typing import BinaryIO

from PIL import Image

from idc_desktop.phantom.plan import BLOCK_PX, MPP_UM

_LEVELS = 5
_BLOCK_LEVELS = 3  # written block by block; the others are reduced from all blocks at once
_TILE_PX = 256
_QUALITY = 75

EncodedBlock = tuple[list[list[bytes]], Image.Image]
"""JPEG tiles of the first levels, and the block reduced to the next."""


class PyramidWriter:
    """Writes a slide block by block, and the levels above from what it was given.

    Parameters
    ----------
    file : binary file
        Empty, and can be sought in.
    blocks : (int, int)
        Columns and rows of blocks.
    description : str
        What the file says of itself; ASCII.
    """

    def __init__(self, file: BinaryIO, blocks: tuple[int, int], description: str) -> None:
        self._blocks = blocks
        self._tiff = _TiffWriter(file, description)
        columns, rows = blocks
        by = 1 << _BLOCK_LEVELS
        self._small = Image.new("RGB", (columns * BLOCK_PX // by, rows * BLOCK_PX // by))

    @staticmethod
    def encode(block: Image.Image) -> EncodedBlock:
        """Make a block ready to be added; may be called in any thread.

        Parameters
        ----------
        block : PIL.Image.Image
            Its level-0 pixels.
        """
        levels = [block, half := block.reduce(2), quarter := half.reduce(2)]
        return [_encoded(level) for level in levels], quarter.reduce(2)

    def add(self, place: tuple[int, int], block: EncodedBlock) -> None:
        """Write a block.

        Parameters
        ----------
        place : (int, int)
            Column and row of the block.
        block : EncodedBlock
            As `encode` returns it.
        """
        (column, row), (levels, reduced) = place, block
        for level, tiles in enumerate(levels):
            side = BLOCK_PX // _TILE_PX >> level
            self._tiff.add(level, column * side, row * side, side, tiles)
        self._small.paste(reduced, (column * reduced.width, row * reduced.height))

    def finish(self) -> None:
        """Write the upper levels and the directories, once all blocks are there."""
        columns, rows = self._blocks
        small = self._small
        for level in range(_BLOCK_LEVELS, _LEVELS):
            self._tiff.add(level, 0, 0, -(-small.width // _TILE_PX), _encoded(small))
            small = small.reduce(2)
        for level in range(_LEVELS):
            self._tiff.finish_level(level, columns * BLOCK_PX >> level, rows * BLOCK_PX >> level)


def _encoded(image: Image.Image) -> list[bytes]:
    """Cut a picture into JPEG tiles, row by row; the last ones are filled up with black."""
    tiles = []
    for top in range(0, image.height, _TILE_PX):
        for left in range(0, image.width, _TILE_PX):
            stream = io.BytesIO()
            tile = image.crop((left, top, left + _TILE_PX, top + _TILE_PX))
            tile.save(stream, "JPEG", quality=_QUALITY, subsampling="4:2:0")
            tiles.append(stream.getvalue())
    return tiles


class _TiffWriter:
    """Writes ready-made JPEG tiles in any order, equal ones once, then the levels' directories.

    tifffile takes such tiles only with an encoder at hand that it does not bring, and in order.
    """

    def __init__(self, file: BinaryIO, description: str) -> None:
        self._file = file
        self._description = description
        self._at: dict[bytes, int] = {}
        self._tiles: list[dict[tuple[int, int], tuple[int, int]]] = [{} for _ in range(_LEVELS)]
        self._link = 4  # where the next directory's place is to be written
        file.write(struct.pack("<2sHI", b"II", 42, 0))

    def add(self, level: int, left: int, top: int, across: int, tiles: list[bytes]) -> None:
        """Write a rectangle of tiles, `across` tiles wide."""
        for number, tile in enumerate(tiles):
            at = self._at.setdefault(hashlib.sha256(tile).digest(), self._file.tell())
            if at == self._file.tell():
                self._file.write(tile)
            place = (top + number // across, left + number % across)
            self._tiles[level][place] = (at, len(tile))

    def finish_level(self, level: int, width: int, height: int) -> None:
        """Write a level's directory."""
        offsets, counts = zip(*(it for _, it in sorted(self._tiles[level].items())), strict=True)
        per_centimetre = struct.pack("<2I", round(10_000 / MPP_UM), 1 << level)
        entries: list[tuple[int, int, Sequence[int] | bytes]] = [
            (254, 4, [int(level > 0)]),  # a reduction
            (256, 4, [width]),
            (257, 4, [height]),
            (258, 3, [8, 8, 8]),
            (259, 3, [7]),  # JPEG
            (262, 3, [6]),  # YCbCr
            (270, 2, self._description.encode() + b"\0"),
            (277, 3, [3]),
            (282, 5, per_centimetre),
            (283, 5, per_centimetre),
            (284, 3, [1]),
            (296, 3, [3]),  # the unit is the centimetre
            (305, 2, b"IDC Desktop\0"),
            (322, 4, [_TILE_PX]),
            (323, 4, [_TILE_PX]),
            (324, 4, offsets),
            (325, 4, counts),
            (530, 3, [2, 2]),  # chroma is halved
        ]
        table = struct.pack("<H", len(entries))
        for tag, kind, values in entries:
            count = 1 if kind == 5 else len(values)
            if not isinstance(values, bytes):
                values = struct.pack(f"<{count}{'H' if kind == 3 else 'I'}", *values)
            if len(values) > 4:
                values = struct.pack("<I", self._append(values))
            table += struct.pack("<HHI4s", tag, kind, count, values)
        at = self._append(table + bytes(4))
        self._file.seek(self._link)
        self._file.write(struct.pack("<I", at))
        self._file.seek(0, os.SEEK_END)
        self._link = at + len(table)

    def _append(self, data: bytes) -> int:
        self._file.write(bytes(self._file.tell() % 2))  # TIFF wants even places
        at = self._file.tell()
        self._file.write(data)
        return at
