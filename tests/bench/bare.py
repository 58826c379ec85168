"""The least that any program has to do: read the level in blocks, cut, skip glass, classify.

No grid of its own, no store, no child process, no exports: ``python bare.py SLIDE MODEL``.
"""

from __future__ import annotations

import os
import sys

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime
import openslide

THREADS = 2
BLOCK_CELLS = 10
PATCH = 50
BATCH = 64


def main(slide_path: str, model_path: str) -> None:
    """Classify a slide that has a level at exactly 8 µm/px; print how many patches it took."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(model_path, options, providers=["CPUExecutionProvider"])
    slide = openslide.OpenSlide(slide_path)
    level = slide.level_count - 1
    downsample = round(slide.level_downsamples[level])
    width, height = slide.level_dimensions[level]
    side = BLOCK_CELLS * PATCH
    found: list[np.ndarray] = []
    for top in range(0, height, side):
        for left in range(0, width, side):
            size = min(side, width - left), min(side, height - top)
            region = slide.read_region((left * downsample, top * downsample), level, size)
            block = np.full((side, side, 3), 255, np.uint8)
            block[: size[1], : size[0]] = np.asarray(region)[:, :, :3]
            cells = block.reshape(BLOCK_CELLS, PATCH, BLOCK_CELLS, PATCH, 3).swapaxes(1, 2)
            patches = cells.reshape(-1, PATCH, PATCH, 3)
            colored = np.ptp(patches[:, ::2, ::2], axis=3) > 20
            patches = patches[colored.mean(axis=(1, 2)) >= 0.05]
            for first in range(0, len(patches), BATCH):
                batch = patches[first : first + BATCH]
                found.append(session.run(["probability"], {"patches": batch})[0])
    probabilities = np.concatenate(found)
    sys.stdout.write(f"{len(probabilities)} {probabilities.mean():.6f}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
