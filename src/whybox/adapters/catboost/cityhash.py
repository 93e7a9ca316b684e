"""How CatBoost turns categories into numbers: CityHash64 (version 1) of their text, and counters kept per hash.

Facts from CityHash version 1 (Pike & Alakuijala, 2011) and from the applicator that CatBoost itself exports; checked against
CatBoost's own predict whenever a model is adapted.
"""

from __future__ import annotations

from typing import Final

__all__ = ["category_hash", "combine_hashes"]

_MASK_64: Final = (1 << 64) - 1
_K0: Final = 0xC3A5C85C97CB3127
_K1: Final = 0xB492B66FBE98F273
_K2: Final = 0x9AE16A3B2F90404F
_K3: Final = 0xC949D7C7509E6557
_PAIR_MULTIPLIER: Final = 0x9DDFEA08EB382D69
_COMBINE_MULTIPLIER: Final = 0x4906BA494954CB65


def category_hash(text: str) -> int:
    """Return the signed 32-bit hash of a category."""
    low = _city64(text.encode()) & 0xFFFFFFFF
    return low - (1 << 32) if low >> 31 else low


def combine_hashes(hashes: list[int]) -> int:
    """Return the combined 64-bit hash of several categories (and 0/1 conditions), the key of CTR tables."""
    result = 0
    for h in hashes:
        result = (_COMBINE_MULTIPLIER * ((result + _COMBINE_MULTIPLIER * h) & _MASK_64)) & _MASK_64
    return result


def _rotate_right(v: int, by: int) -> int:
    by &= 63
    return ((v >> by) | (v << (64 - by))) & _MASK_64


def _shift_mix(v: int) -> int:
    return v ^ (v >> 47)


def _hash_of_two_words(low: int, high: int) -> int:
    """Hash two 64-bit words to one."""
    a = _shift_mix(((low ^ high) * _PAIR_MULTIPLIER) & _MASK_64)
    b = _shift_mix(((high ^ a) * _PAIR_MULTIPLIER) & _MASK_64)
    return (b * _PAIR_MULTIPLIER) & _MASK_64


def _city64(s: bytes) -> int:
    n = len(s)
    if n <= 16:
        return _hash_up_to_16(s, n)
    if n <= 32:
        return _hash_17_to_32(s, n)
    return _hash_33_to_64(s, n) if n <= 64 else _hash_over_64(s, n)


def _read_word(s: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(s[at : at + size], "little")


def _hash_up_to_16(s: bytes, n: int) -> int:
    if n > 8:
        last = _read_word(s, n - 8)
        return _hash_of_two_words(_read_word(s, 0), _rotate_right((last + n) & _MASK_64, n)) ^ last
    if n >= 4:
        return _hash_of_two_words((n + (_read_word(s, 0, 4) << 3)) & _MASK_64, _read_word(s, n - 4, 4))
    if n == 0:
        return _K2
    y, z = s[0] + (s[n >> 1] << 8), n + (s[n - 1] << 2)
    return (_shift_mix(((y * _K2) ^ (z * _K3)) & _MASK_64) * _K2) & _MASK_64


def _hash_17_to_32(s: bytes, n: int) -> int:
    a, b = _read_word(s, 0) * _K1 & _MASK_64, _read_word(s, 8)
    c, d = _read_word(s, n - 8) * _K2 & _MASK_64, _read_word(s, n - 16) * _K0 & _MASK_64
    return _hash_of_two_words(
        (_rotate_right((a - b) & _MASK_64, 43) + _rotate_right(c, 30) + d) & _MASK_64,
        (a + _rotate_right(b ^ _K3, 20) - c + n) & _MASK_64,
    )


def _hash_half(first: int, words: tuple[int, int, int]) -> tuple[int, int]:
    """One side of the 33 to 64 byte hash: a running sum over words with three rotations."""
    x, y, z = words
    b, c = _rotate_right((first + z) & _MASK_64, 52), _rotate_right(first, 37)
    a = (first + x) & _MASK_64
    c = (c + _rotate_right(a, 7)) & _MASK_64
    a = (a + y) & _MASK_64
    return (a + z) & _MASK_64, (b + _rotate_right(a, 31) + c) & _MASK_64


def _hash_33_to_64(s: bytes, n: int) -> int:
    v = _hash_half(
        (_read_word(s, 0) + (n + _read_word(s, n - 16)) * _K0) & _MASK_64,
        (_read_word(s, 8), _read_word(s, 16), _read_word(s, 24)),
    )
    w = _hash_half(
        (_read_word(s, 16) + _read_word(s, n - 32)) & _MASK_64,
        (_read_word(s, n - 24), _read_word(s, n - 16), _read_word(s, n - 8)),
    )
    r = _shift_mix(((v[0] + w[1]) * _K2 + (w[0] + v[1]) * _K0) & _MASK_64)
    return (_shift_mix((r * _K0 + v[1]) & _MASK_64) * _K2) & _MASK_64


def _weak_hash_of_32(s: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    w, x, y, z = (_read_word(s, at + 8 * i) for i in range(4))
    a = (a + w) & _MASK_64
    b = _rotate_right((b + a + z) & _MASK_64, 21)
    c = a
    a = (a + x + y) & _MASK_64
    b = (b + _rotate_right(a, 44)) & _MASK_64
    return (a + z) & _MASK_64, (b + c) & _MASK_64


def _hash_over_64(s: bytes, n: int) -> int:
    x, y, z = _read_word(s, 0), _read_word(s, n - 16) ^ _K1, _read_word(s, n - 56) ^ _K0
    v = _weak_hash_of_32(s, n - 64, n, y)
    w = _weak_hash_of_32(s, n - 32, n * _K1 & _MASK_64, _K0)
    z = (z + _shift_mix(v[1]) * _K1) & _MASK_64
    x = _rotate_right((z + x) & _MASK_64, 39) * _K1 & _MASK_64
    y = _rotate_right(y, 33) * _K1 & _MASK_64
    for at in range(0, (n - 1) & ~63, 64):
        x = _rotate_right((x + y + v[0] + _read_word(s, at + 16)) & _MASK_64, 37) * _K1 & _MASK_64
        y = _rotate_right((y + v[1] + _read_word(s, at + 48)) & _MASK_64, 42) * _K1 & _MASK_64
        x ^= w[1]
        y ^= v[0]
        z = _rotate_right(z ^ w[0], 33)
        v = _weak_hash_of_32(s, at, v[1] * _K1 & _MASK_64, (x + w[0]) & _MASK_64)
        w = _weak_hash_of_32(s, at + 32, (z + w[1]) & _MASK_64, y)
        z, x = x, z
    return _hash_of_two_words(
        (_hash_of_two_words(v[0], w[0]) + _shift_mix(y) * _K1 + z) & _MASK_64,
        (_hash_of_two_words(v[1], w[1]) + x) & _MASK_64,
    )
