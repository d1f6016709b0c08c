"""Flip every single bit of a sealed file of 1 MB, one at a time: none may open. Takes about an hour on one core.

Usage: python tests/flip_every_bit.py [--bytes N] [--from BYTE]
"""

import argparse
import hashlib
import io

from torchprotect._files import HashedFile
from torchprotect.envelope import streaming
from torchprotect.envelope.data_key import DataKey, Place
from torchprotect.errors import VerificationError

KEY, PLACE = DataKey(bytes(range(32))), Place("ab" * 32, "shard-000000.tar", 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=int, default=1_000_000, help="of the sealed file")
    parser.add_argument("--from", type=int, default=0, dest="start", help="go on from this byte")
    arguments = parser.parse_args()
    plain, sealed = HashedFile(io.BytesIO()), HashedFile(io.BytesIO())
    plain.write(hashlib.shake_128(b"content").digest(arguments.bytes - streaming.HEADER - streaming.TAG))
    KEY.seal(plain, sealed, PLACE)
    file = io.BytesIO(sealed.reread().read())
    file.close = lambda: None  # it is opened again and again
    content, accepted = file.getbuffer(), []
    for position in range(arguments.start, len(content)):
        for bit in range(8):
            content[position] ^= 1 << bit
            try:
                KEY.open(file, PLACE, "the file")
            except VerificationError:
                pass
            else:
                accepted.append((position, bit))
            content[position] ^= 1 << bit
        if position % 10_000 == 0:
            print(f"{position:,} of {len(content):,} bytes, {len(accepted)} accepted", flush=True)
    KEY.open(file, PLACE, "the file")
    print(f"all {8 * (len(content) - arguments.start):,} bits flipped, accepted: {accepted or 'none'}")
    raise SystemExit(bool(accepted))


if __name__ == "__main__":
    main()
