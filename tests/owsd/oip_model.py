"""What the tiny model of the real servers computes; numpy is all it needs."""

import numpy as np

MODEL = "tiny"


def vectors_of(images: np.ndarray) -> np.ndarray:
    """Return ten numbers an image that depend on its every pixel and on the order of its dimensions."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    weights = np.cos(np.outer(np.arange(flat.shape[1]), np.arange(1, 11)))
    return (flat @ weights / flat.shape[1]).astype(np.float32)


def outputs_of(images: np.ndarray) -> dict[str, np.ndarray]:
    """Return two outputs, so that the client has to name one."""
    assert images.ndim == 4
    return {"seen": images.mean((1, 2, 3), dtype=np.float32)[:, None], "vectors": vectors_of(images)}
