"""Figures as trackers take them."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.image import imread


def pixels(png: bytes) -> np.ndarray:
    """[height, width, 3] bytes of a PNG file; transparency is dropped."""
    image = imread(io.BytesIO(png), format="png")  # [height, width, 3 or 4], from 0 to 1
    return (image[..., :3] * 255).round().astype(np.uint8)
