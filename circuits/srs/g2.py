"""Whether 128 bytes are a point of BN254's second group, as an SRS file holds one.

Coordinates are in Fp2 = Fp[i]/(i² + 1), the curve is y² = x³ + 3/(9 + i). Its order has a large
cofactor: a point on the curve need not be one of the group that pairings are about.
"""

from __future__ import annotations

from functools import lru_cache

from circuits.errors import SrsError
from circuits.format.field import P

#: BN254's base field. (``P`` is the order of the group.)
Q = 0x30644E72E131A029B85045B68181585D97816A916871CA8D3C208C16D87CFD47

Fp2 = tuple[int, int]
#: Jacobian coordinates: x/z², y/z³; z = 0 is the point at infinity.
Point = tuple[Fp2, Fp2, Fp2]

_UNMONTGOMERY = pow(1 << 256, -1, Q)
_ZERO: Fp2 = (0, 0)


@lru_cache(maxsize=16)
def check_g2(data: bytes) -> None:
    """Raises ``SrsError`` unless ``data`` (x, then y, each c0, c1: 32 bytes, little-endian, in
    Montgomery form) is a point of the group, and not zero."""
    raw = [int.from_bytes(data[at : at + 32], "little") for at in range(0, 128, 32)]
    if any(n >= Q for n in raw):
        raise SrsError("s·G2 has a coordinate that is not below the field's modulus")
    a, b, c, d = (n * _UNMONTGOMERY % Q for n in raw)
    x, y = (a, b), (c, d)
    if (x, y) == (_ZERO, _ZERO):
        raise SrsError("s·G2 is zero: anybody can forge proofs over such a reference string")
    if _mul(y, y) != _add(_mul(_mul(x, x), x), _constant()):
        raise SrsError("s·G2 is not a point of the curve")
    if _times(P, (x, y, (1, 0)))[2] != _ZERO:
        raise SrsError("s·G2 is not a point of the group that BN254's pairing is about")


def _constant() -> Fp2:
    """3/(9 + i) = 3·(9 - i)/82."""
    inverse = pow(82, -1, Q)
    return 27 * inverse % Q, -3 * inverse % Q


def _add(a: Fp2, b: Fp2) -> Fp2:
    return (a[0] + b[0]) % Q, (a[1] + b[1]) % Q


def _sub(a: Fp2, b: Fp2) -> Fp2:
    return (a[0] - b[0]) % Q, (a[1] - b[1]) % Q


def _mul(a: Fp2, b: Fp2) -> Fp2:
    return (a[0] * b[0] - a[1] * b[1]) % Q, (a[0] * b[1] + a[1] * b[0]) % Q


def _small(n: int, a: Fp2) -> Fp2:
    return n * a[0] % Q, n * a[1] % Q


def _double(p: Point) -> Point:
    x, y, z = p
    yy = _mul(y, y)
    s = _small(4, _mul(x, yy))
    m = _small(3, _mul(x, x))
    x3 = _sub(_mul(m, m), _small(2, s))
    y3 = _sub(_mul(m, _sub(s, x3)), _small(8, _mul(yy, yy)))
    return x3, y3, _small(2, _mul(y, z))


def _plus(p: Point, q: Point) -> Point:
    """p + q, complete: doublings and zeros too."""
    if p[2] == _ZERO:
        return q
    if q[2] == _ZERO:
        return p
    pz, qz = _mul(p[2], p[2]), _mul(q[2], q[2])
    u, v = _mul(p[0], qz), _mul(q[0], pz)
    s, t = _mul(p[1], _mul(qz, q[2])), _mul(q[1], _mul(pz, p[2]))
    if u == v:
        return _double(p) if s == t else ((1, 0), (1, 0), _ZERO)
    h, r = _sub(v, u), _sub(t, s)
    hh = _mul(h, h)
    hhh, uhh = _mul(hh, h), _mul(u, hh)
    x = _sub(_sub(_mul(r, r), hhh), _small(2, uhh))
    y = _sub(_mul(r, _sub(uhh, x)), _mul(s, hhh))
    return x, y, _mul(h, _mul(p[2], q[2]))


def _times(n: int, p: Point) -> Point:
    result: Point = ((1, 0), (1, 0), _ZERO)
    for bit in f"{n:b}":
        result = _double(result)
        if bit == "1":
            result = _plus(result, p)
    return result
