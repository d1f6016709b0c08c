"""Find metadata inside image files without decoding them."""

import io
import warnings

from PIL import Image

from torchprotect.attacks.disguise._folder import Entry

PICTURES = {"png", "jpg", "jpeg", "webp", "tif", "tiff", "bmp", "gif"}
_PNG = b"\x89PNG\r\n\x1a\n"
_PLAIN_CHUNKS = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD", b"pHYs"}
_CHUNKS = 4096  # of one file
_WHOLE = 1 << 24  # largest number of bytes passed to Pillow
_TELLING = ("comment", "xmp", "XML:com.adobe.xmp", "photoshop", "icc_profile")
_LAYOUT = {254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 282, 283, 284, 296, 317, 320, 322, 323, 324, 325}
_LAYOUT |= {338, 339, 530, 531, 532}  # TIFF tags that say how pixels are stored


def has_extras(entry: Entry) -> bool | None:
    """Return whether a picture has EXIF, text, a time, a profile or bytes after its end; ``None`` if unreadable."""
    if entry.read(len(_PNG)) == _PNG:
        return _png_has_extras(entry)
    if entry.size > _WHOLE:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damaged EXIF and large pictures: none is decoded
            with Image.open(io.BytesIO(entry.read(_WHOLE)), formats=("JPEG", "WEBP", "TIFF", "BMP", "GIF")) as opened:
                return any(opened.info.get(name) for name in _TELLING) or bool(set(opened.getexif()) - _LAYOUT)
    except (OSError, SyntaxError, ValueError, LookupError, TypeError, ArithmeticError, Image.DecompressionBombError):
        return None


def _png_has_extras(entry: Entry) -> bool | None:
    offset = len(_PNG)
    for _ in range(_CHUNKS):
        head = entry.read(8, offset)
        if len(head) < 8:
            return None  # no IEND
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        offset += 12 + length
        if kind not in _PLAIN_CHUNKS:
            return True
        if kind == b"IEND":
            return offset < entry.size
    return None
