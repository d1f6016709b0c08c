"""Encrypt and authenticate files in segments: AES256-GCM-HKDF-1MB, the streaming AEAD that Tink documents.

Each file has its own key: HKDF-SHA256 of a main key, with the salt in the file's header and the associated data.

References:
    https://developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming
    Hoang, Reyhanitabar, Rogaway, Vizar, "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance",
    CRYPTO 2015, https://eprint.iacr.org/2015/189.
"""

import io
from typing import Any, BinaryIO

from torchprotect.envelope._packages import cryptography
from torchprotect.errors import VerificationError

SEGMENT = 1 << 20
"""Bytes of a sealed segment; the first one includes the header."""
TAG = 16
"""Number of bytes by which sealing lengthens each segment."""
SALT, PREFIX = 32, 7
"""Bytes of the two random values in the header."""
HEADER = 1 + SALT + PREFIX
"""Number of bytes before the first segment: the header's length, the salt, and the prefix of the nonces."""
_BUFFER = 1 << 16


def sealed_size(size: int) -> int:
    """Return the size in bytes of a file of ``size`` bytes after sealing."""
    body = SEGMENT - TAG
    return HEADER + size + TAG * max(1, -(-(size + HEADER) // body))


def opened_size(size: int) -> int | None:
    """Return the size in bytes of a sealed file of ``size`` bytes after opening; ``None`` if no file has this size."""
    opened = size - HEADER - TAG * max(1, -(-size // SEGMENT))
    return opened if opened >= 0 and sealed_size(opened) == size else None


def seal(source: BinaryIO, sink: Any, size: int, *, key: bytes, salt: bytes, prefix: bytes, data: bytes) -> None:
    """Seal a file of any size in the memory of two segments.

    Args:
        source: open at the first byte to seal; ``read`` must return all requested bytes.
        sink: anything with a method ``write``.
        size: number of bytes to seal.
        key: main key, 32 bytes.
        salt: 32 bytes. Two different contents must not share salt and prefix under one key and the same ``data``.
        prefix: 7 bytes.
        data: associated data, which opening requires too.

    Raises:
        ValueError: the source ends early.
    """
    cipher, sealed = _cipher(key, salt, data), memoryview(bytearray(min(SEGMENT, sealed_size(size))))
    sink.write(bytes([HEADER]) + salt + prefix)
    index, left = 0, size
    while index == 0 or left:
        count = min(left, _capacity(index))
        left -= count
        nonce, part = _nonce(prefix, index, last=not left), sealed[: count + TAG]
        _encrypt(cipher, nonce, source.read(count), part)
        sink.write(part)
        index += 1


def _encrypt(cipher: Any, nonce: bytes, plain: bytes, sealed: memoryview) -> None:
    """Seal a segment. The plain bytes live no longer than the call, so that only one segment of them is in memory."""
    if len(plain) + TAG < len(sealed):
        raise ValueError("the file to seal ends early")
    cipher.encrypt_into(nonce, plain, None, sealed)


def open_sealed(file: BinaryIO, *, key: bytes, data: bytes, name: str) -> BinaryIO:
    """Return a sealed file, decrypted: bytes are returned only after their segment has been authenticated.

    Args:
        file: open for reading, seekable; closed with the result.
        key: main key, 32 bytes.
        data: associated data.
        name: name of the file, for error messages.

    Raises:
        VerificationError: the file was changed or truncated, or was sealed with another key or other data. It is raised
            now, or while reading.
    """
    return io.BufferedReader(_Opening(file, key, data, name), _BUFFER)


class _Opening(io.RawIOBase):
    """A sealed file as the plain one. Holds one plain segment."""

    def __init__(self, file: BinaryIO, key: bytes, data: bytes, name: str) -> None:
        self._file, self._name = file, name
        self._sealed_size = file.seek(0, io.SEEK_END)
        size = opened_size(self._sealed_size)
        if size is None:
            raise VerificationError(f"{name} is damaged, or is not a sealed file: none has {self._sealed_size:,} bytes")
        self._size, self._position = size, 0
        file.seek(0)
        header = _read(file, HEADER)
        if header[:1] != bytes([HEADER]):
            raise VerificationError(f"{name} is damaged, or is not a sealed file: its header is wrong")
        self._prefix = header[1 + SALT :]
        self._cipher = _cipher(key, header[1 : 1 + SALT], data)
        self._plain = memoryview(bytearray(min(SEGMENT, self._sealed_size)))
        self._held = -1  # index of the segment in _plain
        self._load(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        if self._position >= self._size:
            return 0
        index, start = _place(self._position)
        if index != self._held:
            self._load(index)
        available = self._plain[start : min(_capacity(index), self._size - self._position + start)]
        part = available[: len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def _load(self, index: int) -> None:
        """Read and authenticate a segment."""
        start, end = max(HEADER, index * SEGMENT), min((index + 1) * SEGMENT, self._sealed_size)
        nonce = _nonce(self._prefix, index, last=end == self._sealed_size)
        self._held = -1
        self._file.seek(start)
        sealed = _read(self._file, end - start)  # shorter, if the file was cut meanwhile
        try:
            self._cipher.decrypt_into(nonce, sealed, None, self._plain[: max(0, len(sealed) - TAG)])
        except (ValueError, cryptography("exceptions").InvalidTag) as error:
            raise VerificationError(
                f"{self._name} does not open: byte {start:,} or one behind it was changed, the file was cut, or it "
                "is from another place or export"
            ) from error
        self._held = index


def _capacity(index: int) -> int:
    """Return the largest number of bytes in a segment."""
    return SEGMENT - TAG - (HEADER if index == 0 else 0)


def _place(position: int) -> tuple[int, int]:
    """Return the segment that contains a byte, and the byte's offset in it."""
    index, start = divmod(position + HEADER, SEGMENT - TAG)
    return index, start - (HEADER if index == 0 else 0)


def _nonce(prefix: bytes, index: int, *, last: bool) -> bytes:
    return prefix + index.to_bytes(4, "big") + bytes([last])


def _cipher(key: bytes, salt: bytes, data: bytes) -> Any:
    """Return AES-256-GCM under the key of one file."""
    kdf, hashes = cryptography("hazmat.primitives.kdf.hkdf"), cryptography("hazmat.primitives.hashes")
    derived = kdf.HKDF(hashes.SHA256(), length=32, salt=salt, info=data).derive(key)
    return cryptography("hazmat.primitives.ciphers.aead").AESGCM(derived)


def _read(file: BinaryIO, size: int) -> bytes:
    """Read this many bytes, or fewer if the file ends."""
    found = file.read(size)
    while len(found) < size and (more := file.read(size - len(found))):
        found += more
    return found
