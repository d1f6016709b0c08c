"""AES (FIPS 197) in plain PyTorch, for devices without pycryptodome; vectorised over keys and units."""

from functools import cache

import torch
from torch import Tensor

_SHIFT_ROWS = [(i + 4 * (i % 4)) % 16 for i in range(16)]
_UNSHIFT_ROWS = [(i - 4 * (i % 4)) % 16 for i in range(16)]


def _times(a: int, b: int) -> int:
    """Multiply in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1."""
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = (a << 1) ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


def _substitute(a: int) -> int:
    """Return the S-box value of ``a``: its inverse in GF(2^8), then the affine map of FIPS 197, 5.1.1."""
    inverse = next((b for b in range(256) if _times(a, b) == 1), 0)
    rotations = [(inverse << n | inverse >> (8 - n)) & 0xFF for n in range(5)]
    return rotations[0] ^ rotations[1] ^ rotations[2] ^ rotations[3] ^ rotations[4] ^ 0x63


@cache
def _sbox() -> tuple[list[int], list[int]]:
    forward = [_substitute(a) for a in range(256)]
    return forward, [forward.index(a) for a in range(256)]


@cache
def _tables(device: torch.device) -> dict[str, Tensor]:
    forward, backward = _sbox()
    tables = {"sub": forward, "unsub": backward}
    tables |= {f"x{n}": [_times(a, n) for a in range(256)] for n in (2, 9, 11, 13, 14)}
    return {name: torch.tensor(values, dtype=torch.uint8, device=device) for name, values in tables.items()}


def _look_up(table: Tensor, state: Tensor) -> Tensor:
    return table[state.int()]


def _turn(state: Tensor, n: int) -> Tensor:
    """Rotate each column of four bytes by ``n`` bytes."""
    return state.unflatten(-1, (4, 4)).roll(-n, -1).flatten(-2)


def _mix_columns(state: Tensor, tables: dict[str, Tensor]) -> Tensor:
    doubled = _look_up(tables["x2"], state)
    return doubled ^ _turn(doubled ^ state, 1) ^ _turn(state, 2) ^ _turn(state, 3)


def _unmix_columns(state: Tensor, tables: dict[str, Tensor]) -> Tensor:
    x14, x11, x13, x9 = (_look_up(tables[f"x{n}"], state) for n in (14, 11, 13, 9))
    return x14 ^ _turn(x11, 1) ^ _turn(x13, 2) ^ _turn(x9, 3)


def _expand(keys: Tensor, tables: dict[str, Tensor]) -> list[Tensor]:
    """Expand ``[keys, 16 | 24 | 32]`` to round keys, each ``[keys, 1, 16]`` (FIPS 197, 5.2)."""
    words = list(keys.unflatten(-1, (-1, 4)).unbind(-2))
    length, constant = len(words), 1
    for i in range(length, 4 * (length + 7)):
        word = words[-1]
        if i % length == 0:
            word = _look_up(tables["sub"], word.roll(-1, -1))
            word = word ^ torch.tensor([constant, 0, 0, 0], dtype=torch.uint8, device=keys.device)
            constant = _times(constant, 2)
        elif length == 8 and i % length == 4:
            word = _look_up(tables["sub"], word)
        words.append(words[-length] ^ word)
    return [torch.cat(words[i : i + 4], -1).unsqueeze(-2) for i in range(0, len(words), 4)]


def crypt(units: Tensor, keys: Tensor, decrypt: bool) -> Tensor:
    """Encrypt or decrypt ``units [keys, n * 16]`` under ``keys [keys, 16 | 24 | 32]``, row by row."""
    tables = _tables(units.device)
    first, *middle, last = _expand(keys, tables)
    state = units.unflatten(-1, (-1, 16))
    if decrypt:
        state = _look_up(tables["unsub"], (state ^ last)[..., _UNSHIFT_ROWS])
        for round_key in reversed(middle):
            state = _look_up(tables["unsub"], _unmix_columns(state ^ round_key, tables)[..., _UNSHIFT_ROWS])
        state = state ^ first
    else:
        state = state ^ first
        for round_key in middle:
            state = _mix_columns(_look_up(tables["sub"], state)[..., _SHIFT_ROWS], tables) ^ round_key
        state = _look_up(tables["sub"], state)[..., _SHIFT_ROWS] ^ last
    return state.flatten(-2)
