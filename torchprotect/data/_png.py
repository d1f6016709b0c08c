"""Uncompressed PNG: encoding and decoding.

A file's size must reveal nothing about its content. Pixels go into stored deflate blocks, so the bytes do not depend on
the zlib version, and all images of a shape have the same size.
"""

import struct
import zlib
from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 3: 2}  # grey, RGB
_STORED_LIMIT = 0xFFFF


def has_png(channels: int) -> bool:
    """Return whether uint8 images with this number of channels are stored as PNG: grey and RGB are."""
    return channels in _COLOUR_TYPES


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


_END = _chunk(b"IEND", b"")


@cache
def _start(channels: int, height: int, width: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    return _SIGNATURE + _chunk(b"IHDR", header)


def _store(content: bytes) -> bytes:
    """Return a zlib stream of stored blocks."""
    parts = [b"\x78\x01"]
    for start in range(0, len(content), _STORED_LIMIT):
        piece = content[start : start + _STORED_LIMIT]
        last = start + _STORED_LIMIT >= len(content)
        parts += [struct.pack("<BHH", last, len(piece), len(piece) ^ 0xFFFF), piece]
    parts.append(struct.pack(">I", zlib.adler32(content)))
    return b"".join(parts)


def stored_parts(channels: int, height: int, width: int) -> list[int]:
    """Return the lengths in bytes of the parts of a PNG, which alternate between not pixel rows and pixel rows."""
    size = height * (1 + width * channels)
    pieces = [min(_STORED_LIMIT, size - start) for start in range(0, size, _STORED_LIMIT)]
    before = len(_SIGNATURE) + 25 + 8 + 2 + 5  # signature, IHDR, headers of IDAT, zlib stream and first block
    parts = [before]
    for piece in pieces:
        parts += [piece, 5]
    return [*parts[:-1], 4 + 4 + len(_END)]  # checksums of stream and chunk, and the end


def encode_png(images: NDArray[np.uint8]) -> Iterator[bytes]:
    """Yield one PNG for each image of a batch, uint8 ``[N, 1 or 3, H, W]``."""
    count, channels, height, width = images.shape
    rows = np.empty((count, height, 1 + width * channels), np.uint8)
    rows[:, :, 0] = 0  # the filter type that each row begins with
    for channel in range(channels):  # three times as fast as a transposition, which copies short runs
        rows[:, :, 1 + channel :: channels] = images[:, channel]
    start = _start(channels, height, width)
    for image in rows:
        yield start + _chunk(b"IDAT", _store(image.tobytes())) + _END


def decode_png(content: bytes) -> NDArray[np.uint8]:
    """Return the image ``[1 or 3, H, W]`` of a PNG that :func:`encode_png` wrote.

    Raises:
        ValueError: it is another PNG, or not a PNG.
    """
    if len(content) < len(_SIGNATURE) + 25 + 12 + len(_END):
        raise ValueError("the PNG is cut short")
    width, height = struct.unpack_from(">II", content, 16)
    channels = {colour: n for n, colour in _COLOUR_TYPES.items()}.get(content[25])
    size = height * (1 + width * (channels or 0))
    blocks = -(-size // _STORED_LIMIT)
    start = len(_SIGNATURE) + 25
    if channels is None or len(content) != start + 12 + (2 + 5 * blocks + size + 4) + len(_END):
        raise ValueError("the PNG is not an uncompressed grey or RGB one, or it has another size than its header says")
    body = content[start + 8 : -len(_END) - 4]
    if content[:start] != _start(channels, height, width) or content[start:] != _chunk(b"IDAT", body) + _END:
        raise ValueError("the PNG has other chunks than an export writes, or a checksum is wrong")
    starts = range(7, len(body) - 4, 5 + _STORED_LIMIT)  # of the blocks' contents
    pixels = b"".join(body[first : min(first + _STORED_LIMIT, len(body) - 4)] for first in starts)
    if body != _store(pixels):
        raise ValueError("the PNG's pixels are damaged")
    rows = np.frombuffer(pixels, np.uint8).reshape(height, 1 + width * channels)
    if rows[:, 0].any():
        raise ValueError("the PNG's rows are filtered, which an export does not do")
    return np.ascontiguousarray(rows[:, 1:].reshape(height, width, channels).transpose(2, 0, 1))
