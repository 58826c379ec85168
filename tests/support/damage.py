"""Damage to files, as disks and memory do it."""

from __future__ import annotations

import random
from collections.abc import Callable

PAGE = 4096

Mutant = tuple[bytes, range]
"""A damaged file, and which bytes of it are others."""


def flip(data: bytes, bit: int) -> Mutant:
    """Flip one bit."""
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged), range(bit // 8, bit // 8 + 1)


def overwrite(data: bytes, start: int, size: int, content: bytes) -> Mutant:
    """Put other bytes in the place of some."""
    return data[:start] + content[:size] + data[start + size :], range(start, start + size)


def _any_bit(data: bytes, choice: random.Random) -> Mutant:
    return flip(data, choice.randrange(8 * len(data)))


def _page_head(data: bytes, choice: random.Random) -> Mutant:
    return flip(data, 8 * PAGE * choice.randrange(1, len(data) // PAGE) + choice.randrange(8 * 60))


def _zeroed_page(data: bytes, choice: random.Random) -> Mutant:
    return overwrite(data, PAGE * choice.randrange(len(data) // PAGE), PAGE, bytes(PAGE))


def _noisy_page(data: bytes, choice: random.Random) -> Mutant:
    noise = choice.randbytes(PAGE)
    return overwrite(data, PAGE * choice.randrange(len(data) // PAGE), PAGE, noise)


def _copied_page(data: bytes, choice: random.Random) -> Mutant:
    source, target = (PAGE * choice.randrange(len(data) // PAGE) for _ in range(2))
    return overwrite(data, target, PAGE, data[source : source + PAGE])


def _zeroed_sector(data: bytes, choice: random.Random) -> Mutant:
    return overwrite(data, 512 * choice.randrange(len(data) // 512), 512, bytes(512))


def _cut(data: bytes, choice: random.Random) -> Mutant:
    end = choice.randrange(1, len(data))
    return data[:end], range(end, len(data))


DAMAGES: dict[str, Callable[[bytes, random.Random], Mutant]] = {
    "flipped bit": _any_bit,
    "flipped bit of a file header": lambda data, choice: flip(data, choice.randrange(800)),
    "flipped bit of the schema": lambda data, choice: flip(data, choice.randrange(800, 8 * PAGE)),
    "flipped bit of a page header": _page_head,
    "zeroed page": _zeroed_page,
    "noisy page": _noisy_page,
    "page in the place of another": _copied_page,
    "zeroed sector": _zeroed_sector,
    "cut": _cut,
}
"""What happens to a SQLite file, by its name."""
