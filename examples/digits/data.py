"""Digit images: the affine warp that makes them and the one place that writes a data set file.

NumPy only. Reads no data itself: the originals are handed in (see `train.py`).
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIZE = 32  # pixels a side, after the warp
ORIGINAL_SIZE = 8
SCALE = 3.5  # the 8x8 original covers 28 of the 32 pixels
LEVELS = 15  # 16 grey levels, 17 apart on the 0..255 scale: the files stay small

Images = NDArray[np.float32]
Indices = NDArray[np.int64]


def warp(originals: Images, angles: Images, shifts: Images) -> NDArray[np.uint8]:
    """Upscale by `SCALE`, rotate and shift each original; outside it is black.

    originals: [n, 8, 8], 0..16 as scikit-learn has them. angles: [n], radians.
    shifts: [n, 2], output pixels (x, y). Returns 8-bit pixels [n, 1, 32, 32].
    """
    centre = (SIZE - 1) / 2
    v, u = np.meshgrid(np.arange(SIZE) - centre, np.arange(SIZE) - centre, indexing="ij")
    du, dv = (axis[None] - shifts[:, k, None, None] for k, axis in enumerate((u, v)))
    cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    # One pixel of margin on each side lets the bilinear lookup run off the original.
    half = (ORIGINAL_SIZE - 1) / 2 + 1
    x = np.clip((cos * du + sin * dv) / SCALE + half, 0, ORIGINAL_SIZE + 0.999)
    y = np.clip((cos * dv - sin * du) / SCALE + half, 0, ORIGINAL_SIZE + 0.999)
    padded = np.pad(originals / 16, ((0, 0), (1, 1), (1, 1)))
    x0, y0 = x.astype(np.int64), y.astype(np.int64)
    fx, fy = x - x0, y - y0
    n = np.arange(len(originals))[:, None, None]
    top = padded[n, y0, x0] * (1 - fx) + padded[n, y0, x0 + 1] * fx
    bottom = padded[n, y0 + 1, x0] * (1 - fx) + padded[n, y0 + 1, x0 + 1] * fx
    grey = np.rint((top * (1 - fy) + bottom * fy) * LEVELS)
    return (grey * (255 // LEVELS)).astype(np.uint8)[:, None]


def random_warp(originals: Images, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Rotations within 15 degrees and shifts within 2.5 output pixels, uniform."""
    n = len(originals)
    angles = rng.uniform(-np.pi / 12, np.pi / 12, n).astype(np.float32)
    shifts = rng.uniform(-2.5, 2.5, (n, 2)).astype(np.float32)
    return warp(originals, angles, shifts)


def normalise(pixels: NDArray[np.uint8]) -> Images:
    """What the model expects: 8-bit pixels divided by 255."""
    return pixels.astype(np.float32) / np.float32(255)


def write(path: Path, **arrays: NDArray[np.generic]) -> None:
    """Write numeric arrays only, so that a reader never needs pickle."""
    assert all(array.dtype.kind in "fiu" for array in arrays.values())
    np.savez_compressed(path, **arrays)
