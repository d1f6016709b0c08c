"""Sealed files: the published format, both ways; and every change of a byte is refused."""

import hashlib
import io
import itertools
import os
import sys
import tracemalloc
from pathlib import Path

import pytest

cryptography = pytest.importorskip("cryptography")

sys.path.insert(0, str(Path(__file__).parent.parent / "vectors"))
from open_sealed_export import hkdf  # noqa: E402
from open_sealed_export import open_file as open_with_cryptography  # noqa: E402

from torchprotect._files import HashedFile  # noqa: E402
from torchprotect.envelope import streaming  # noqa: E402
from torchprotect.envelope.data_key import DataKey, Place  # noqa: E402
from torchprotect.errors import EnvelopeError, VerificationError  # noqa: E402

SEGMENT = streaming.SEGMENT
FIRST, OTHER = SEGMENT - streaming.HEADER - streaming.TAG, SEGMENT - streaming.TAG
BORDERS = [0, 1, 17, FIRST - 1, FIRST, FIRST + 1, FIRST + OTHER - 1, FIRST + OTHER, FIRST + OTHER + 1, 3_000_000]
KEY, PLACE = DataKey(bytes(range(32))), Place("ab" * 32, "shard-000000.tar", 3)


def plain_bytes(size):
    return hashlib.shake_128(b"content").digest(size)


def hashed(content):
    file = HashedFile(io.BytesIO())
    file.write(content)
    return file


def seal(content, key=KEY, place=PLACE):
    out = HashedFile(io.BytesIO())
    key.seal(hashed(content), out, place)
    return out.reread().read()


def open_(sealed, key=KEY, place=PLACE):
    with key.open(io.BytesIO(sealed), place, "the file") as file:
        return file.read()


def refuse(sealed, **options):
    with pytest.raises(VerificationError, match="the file"):
        open_(sealed, **options)


@pytest.mark.parametrize("size", BORDERS)
class TestFormat:
    def test_opens_to_what_was_sealed(self, size):
        sealed = seal(plain_bytes(size))
        assert open_(sealed) == plain_bytes(size)
        assert len(sealed) == streaming.sealed_size(size)
        assert streaming.opened_size(len(sealed)) == size

    def test_slow_reference(self, size):
        sealed = seal(plain_bytes(size))
        assert open_with_cryptography(sealed, hkdf(KEY.secret, b"torchprotect/v1/envelope/file"), PLACE.data) == (
            plain_bytes(size)
        )

    def test_tink_opens_it_and_we_open_what_tink_seals(self, size):
        primitive = tink_primitive(hkdf(KEY.secret, b"torchprotect/v1/envelope/file"))
        with primitive.new_decrypting_stream(io.BytesIO(seal(plain_bytes(size))), PLACE.data) as file:
            assert file.read() == plain_bytes(size)
        sealed = Kept()
        with primitive.new_encrypting_stream(sealed, PLACE.data) as file:
            file.write(plain_bytes(size))
        assert open_(sealed.content) == plain_bytes(size)

    def test_small_and_large_reads_and_seeks(self, size):
        sealed, plain = seal(plain_bytes(size)), plain_bytes(size)
        with KEY.open(io.BytesIO(sealed), PLACE, "the file") as file:
            assert file.seek(0, io.SEEK_END) == size
            for start in (0, size // 2, max(0, size - 5), size, size + 7):
                file.seek(start)
                assert file.read(11) == plain[start : start + 11]
            file.seek(0)
            assert b"".join(iter(lambda: file.read(70_001), b"")) == plain


class Kept(io.BytesIO):
    """Keeps its content when it is closed."""

    def close(self):
        self.content = self.getvalue()
        super().close()


def tink_primitive(key):
    tink = pytest.importorskip("tink")
    from tink import cleartext_keyset_handle, streaming_aead
    from tink.proto import aes_gcm_hkdf_streaming_pb2 as of_kind
    from tink.proto import common_pb2, tink_pb2

    streaming_aead.register()
    params = of_kind.AesGcmHkdfStreamingParams(
        ciphertext_segment_size=SEGMENT, derived_key_size=32, hkdf_hash_type=common_pb2.SHA256
    )
    data = tink_pb2.KeyData(
        type_url="type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
        value=of_kind.AesGcmHkdfStreamingKey(version=0, params=params, key_value=key).SerializeToString(),
        key_material_type=tink_pb2.KeyData.SYMMETRIC,
    )
    entry = tink_pb2.Keyset.Key(key_data=data, status=tink_pb2.ENABLED, key_id=1, output_prefix_type=tink_pb2.RAW)
    keyset = tink_pb2.Keyset(primary_key_id=1, key=[entry])
    handle = cleartext_keyset_handle.read(tink.BinaryKeysetReader(keyset.SerializeToString()))
    return handle.primitive(streaming_aead.StreamingAead)


def test_no_other_size_is_that_of_a_sealed_file():
    sizes = {streaming.sealed_size(size) for size in range(200)}
    assert [size for size in range(min(sizes) + 200) if streaming.opened_size(size) is not None] == sorted(sizes)
    assert streaming.opened_size(SEGMENT + 1) is streaming.opened_size(SEGMENT + streaming.TAG) is None
    assert streaming.opened_size(SEGMENT) == FIRST
    assert streaming.opened_size(SEGMENT + streaming.TAG + 1) == FIRST + 1


def test_the_same_file_at_the_same_place_has_the_same_bytes():
    content = plain_bytes(100)
    assert seal(content) == seal(content)
    others = [seal(content + b"x"), seal(content, place=PLACE._replace(name="shard-000001.tar"))]
    others += [seal(content, key=DataKey(bytes(32))), seal(content, place=PLACE._replace(shards=4))]
    assert len({each[:40] for each in [seal(content), *others]}) == 5


class TestChanges:
    def test_every_byte_of_64_kib_and_every_bit_at_both_ends(self):
        """The header and the first blocks; the last blocks and the tag. ``flip_every_bit.py`` flips all of a file."""
        sealed = bytearray(seal(plain_bytes((1 << 16) - streaming.HEADER - streaming.TAG)))
        assert len(sealed) == 1 << 16
        ends = [*range(256), *range(len(sealed) - 256, len(sealed))]
        flips = [*itertools.product(ends, range(8)), *((place, place % 8) for place in range(256, len(sealed) - 256))]
        accepted = []
        for position, bit in flips:
            sealed[position] ^= 1 << bit
            try:
                KEY.open(io.BytesIO(sealed), PLACE, "the file")
            except VerificationError:
                pass
            else:
                accepted.append((position, bit))
            sealed[position] ^= 1 << bit
        assert accepted == []
        assert len(open_(sealed)) == len(sealed) - 56

    @pytest.mark.parametrize("border", [0, 1, 2, 3])
    def test_cut_at_and_around_each_border(self, border):
        sealed = seal(plain_bytes(FIRST + OTHER + 5000))
        for place in (border * SEGMENT, border * SEGMENT + streaming.HEADER, border * SEGMENT + streaming.TAG):
            for end in range(max(0, place - 2), min(place + 3, len(sealed))):
                refuse(sealed[:end])
        refuse(sealed[:-1])

    def test_a_cut_that_leaves_whole_segments_shows_at_the_last_one(self):
        sealed = seal(plain_bytes(FIRST + OTHER + 5000))
        with KEY.open(io.BytesIO(sealed[: 2 * SEGMENT]), PLACE, "the file") as file:
            assert file.read(FIRST) == plain_bytes(FIRST)
            with pytest.raises(VerificationError, match="byte 1,048,576 or one behind it"):
                file.read()

    @pytest.mark.parametrize("more", [b"\0", bytes(16), bytes(17), bytes(SEGMENT)])
    def test_appended_bytes(self, more):
        for size in (100, FIRST, FIRST + 1):
            refuse(seal(plain_bytes(size)) + more)

    def test_exchanged_doubled_and_missing_segments(self):
        sealed = seal(plain_bytes(FIRST + 3 * OTHER))
        parts = [sealed[i : i + SEGMENT] for i in range(0, len(sealed), SEGMENT)]
        for order in itertools.permutations(range(4)):
            if list(order) != [0, 1, 2, 3]:
                refuse(b"".join(parts[i] for i in order))
        for order in ([0, 1, 1, 2, 3], [0, 2, 3], [0, 1, 3], [1, 2, 3], [0, 3]):
            refuse(b"".join(parts[i] for i in order))

    def test_another_place_or_key(self):
        sealed = seal(plain_bytes(1000))
        refuse(sealed, key=DataKey(bytes(32)))
        refuse(sealed, place=PLACE._replace(export="ac" * 32))
        refuse(sealed, place=PLACE._replace(name="shard-000001.tar"))
        refuse(sealed, place=PLACE._replace(shards=2))

    def test_a_file_that_is_cut_while_it_is_read(self, tmp_path):
        path = tmp_path / "sealed"
        path.write_bytes(seal(plain_bytes(FIRST + 2 * OTHER)))
        with KEY.open(path.open("rb"), PLACE, "the file") as file:
            file.read(100)
            os.truncate(path, SEGMENT + 10)
            with pytest.raises(VerificationError):
                file.read()


def test_no_key_and_nonce_twice_in_10000_shards():
    """Of equal shards at all places, and of ten different ones at each of a thousand places."""
    seen = set()
    shards = [(b"equal", PLACE._replace(name=f"shard-{n:06}.tar", shards=10_000)) for n in range(10_000)]
    shards += [(b"%d" % n, PLACE._replace(name=f"shard-{place:06}.tar")) for place in range(1000) for n in range(10)]
    main_key = hkdf(KEY.secret, b"torchprotect/v1/envelope/file")
    for content, place in shards:
        header = seal(content, place=place)[: streaming.HEADER]
        seen.add((hkdf(main_key, place.data, header[1:33]), header[33:]))
    assert len(seen) == 20_000
    assert len({key for key, _ in seen}) == 20_000  # so that nonces need not differ


def test_memory_does_not_grow_with_the_file(tmp_path):
    """Two segments of memory, sealed and plain, and what Python's own buffers take."""
    path, size = tmp_path / "plain", 24 << 20
    with path.open("wb") as file:
        hashed_file = HashedFile(file)
        for _ in range(24):
            hashed_file.write(plain_bytes(1 << 20))
    with path.open("rb") as file, (tmp_path / "sealed").open("wb") as sink:
        hashed_file.reread = lambda: file
        tracemalloc.start()
        KEY.seal(hashed_file, HashedFile(sink), PLACE)
        sealing = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    tracemalloc.start()
    with KEY.open((tmp_path / "sealed").open("rb"), PLACE, "the file") as opened:
        buffer, count = bytearray(4096), 0
        while read := opened.readinto(buffer):
            count += read
    opening = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == size
    assert max(sealing, opening) < (2 << 20) + (300 << 10), (sealing, opening)


def test_a_data_key_shows_nothing():
    assert repr(KEY) == "DataKey(...)"
    assert repr(KEY.secret) == "<32 secret bytes>"
    assert KEY.commitment == hkdf(KEY.secret, b"torchprotect/v1/envelope/commitment").hex()
    with pytest.raises(EnvelopeError, match="has 32 bytes, got 5"):
        DataKey(b"short")
