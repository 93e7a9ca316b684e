"""How CatBoost turns categories into numbers: CityHash64 (version 1) of their text, and counters kept per hash.

Facts from CityHash version 1 (Pike & Alakuijala, 2011) and from the applicator that CatBoost itself exports; checked against
CatBoost's own predict whenever a model is adapted.
"""

from __future__ import annotations

from typing import Final

__all__ = ["category_hash", "combine"]

_64: Final = (1 << 64) - 1
_K0: Final = 0xC3A5C85C97CB3127
_K1: Final = 0xB492B66FBE98F273
_K2: Final = 0x9AE16A3B2F90404F
_K3: Final = 0xC949D7C7509E6557
_MUL: Final = 0x9DDFEA08EB382D69
_MIX: Final = 0x4906BA494954CB65


def category_hash(text: str) -> int:
    """Return the signed 32-bit number that stands for a category."""
    low = _city64(text.encode()) & 0xFFFFFFFF
    return low - (1 << 32) if low >> 31 else low


def combine(hashes: list[int]) -> int:
    """Return the 64-bit hash of several categories (and 0/1 conditions) together, as counters are indexed."""
    result = 0
    for h in hashes:
        result = (_MIX * ((result + _MIX * h) & _64)) & _64
    return result


def _rotate(v: int, by: int) -> int:
    by &= 63
    return ((v >> by) | (v << (64 - by))) & _64


def _shift_mix(v: int) -> int:
    return v ^ (v >> 47)


def _pair(low: int, high: int) -> int:
    """Two 64-bit words into one."""
    a = _shift_mix(((low ^ high) * _MUL) & _64)
    b = _shift_mix(((high ^ a) * _MUL) & _64)
    return (b * _MUL) & _64


def _city64(s: bytes) -> int:
    n = len(s)
    if n <= 16:
        return _short(s, n)
    if n <= 32:
        return _middle(s, n)
    return _long(s, n) if n <= 64 else _longest(s, n)


def _word(s: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(s[at : at + size], "little")


def _short(s: bytes, n: int) -> int:
    if n > 8:
        last = _word(s, n - 8)
        return _pair(_word(s, 0), _rotate((last + n) & _64, n)) ^ last
    if n >= 4:
        return _pair((n + (_word(s, 0, 4) << 3)) & _64, _word(s, n - 4, 4))
    if n == 0:
        return _K2
    y, z = s[0] + (s[n >> 1] << 8), n + (s[n - 1] << 2)
    return (_shift_mix(((y * _K2) ^ (z * _K3)) & _64) * _K2) & _64


def _middle(s: bytes, n: int) -> int:
    a, b = _word(s, 0) * _K1 & _64, _word(s, 8)
    c, d = _word(s, n - 8) * _K2 & _64, _word(s, n - 16) * _K0 & _64
    return _pair((_rotate((a - b) & _64, 43) + _rotate(c, 30) + d) & _64, (a + _rotate(b ^ _K3, 20) - c + n) & _64)


def _half(first: int, words: tuple[int, int, int]) -> tuple[int, int]:
    """One side of the 33 to 64 byte hash: a running sum over words with three rotations."""
    x, y, z = words
    b, c = _rotate((first + z) & _64, 52), _rotate(first, 37)
    a = (first + x) & _64
    c = (c + _rotate(a, 7)) & _64
    a = (a + y) & _64
    return (a + z) & _64, (b + _rotate(a, 31) + c) & _64


def _long(s: bytes, n: int) -> int:
    v = _half((_word(s, 0) + (n + _word(s, n - 16)) * _K0) & _64, (_word(s, 8), _word(s, 16), _word(s, 24)))
    w = _half((_word(s, 16) + _word(s, n - 32)) & _64, (_word(s, n - 24), _word(s, n - 16), _word(s, n - 8)))
    r = _shift_mix(((v[0] + w[1]) * _K2 + (w[0] + v[1]) * _K0) & _64)
    return (_shift_mix((r * _K0 + v[1]) & _64) * _K2) & _64


def _weak(s: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    w, x, y, z = (_word(s, at + 8 * i) for i in range(4))
    a = (a + w) & _64
    b = _rotate((b + a + z) & _64, 21)
    c = a
    a = (a + x + y) & _64
    b = (b + _rotate(a, 44)) & _64
    return (a + z) & _64, (b + c) & _64


def _longest(s: bytes, n: int) -> int:
    x, y, z = _word(s, 0), _word(s, n - 16) ^ _K1, _word(s, n - 56) ^ _K0
    v = _weak(s, n - 64, n, y)
    w = _weak(s, n - 32, n * _K1 & _64, _K0)
    z = (z + _shift_mix(v[1]) * _K1) & _64
    x = _rotate((z + x) & _64, 39) * _K1 & _64
    y = _rotate(y, 33) * _K1 & _64
    for at in range(0, (n - 1) & ~63, 64):
        x = _rotate((x + y + v[0] + _word(s, at + 16)) & _64, 37) * _K1 & _64
        y = _rotate((y + v[1] + _word(s, at + 48)) & _64, 42) * _K1 & _64
        x ^= w[1]
        y ^= v[0]
        z = _rotate(z ^ w[0], 33)
        v = _weak(s, at, v[1] * _K1 & _64, (x + w[0]) & _64)
        w = _weak(s, at + 32, (z + w[1]) & _64, y)
        z, x = x, z
    return _pair((_pair(v[0], w[0]) + _shift_mix(y) * _K1 + z) & _64, (_pair(v[1], w[1]) + x) & _64)
