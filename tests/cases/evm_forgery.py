"""Calldata that EZKL's verifier contracts accept without a proof, and an EVM to send it to.

The verifiers hash the proof at the calldata's offset and check the bytes at a fixed place. Here
the offset points at a *decoy* behind everything else. That fixes every challenge; after that the
bytes at the fixed place, the *body*, are chosen so that the pairing holds: e(L, [1]) = e(W', [s]),
where L is a sum over the body's points with coefficients that the challenges fix. W' is the
generator, so L has to be [s]; one commitment has coefficient one, and is moved by what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

pyrevm = pytest.importorskip("pyrevm", reason="pyrevm has no wheel for this Python")

_Q = 0x30644E72E131A029B85045B68181585D97816A916871CA8D3C208C16D87CFD47
_SENDER = "0x" + "11" * 20
_WORD, _POINT = 32, 64
#: PUSH1 8, GAS, STATICCALL: the call that checks the pairing, in what solc makes of the verifiers.
_PAIRING = bytes.fromhex("60085afa")
#: RETURN instead of it gives out what the pairing was to be checked of: L and W' first and third.
_SHOW_IT = bytes.fromhex("f3000000")

Point = tuple[int, int]
GENERATOR: Point = (1, 2)


def words(*values: int) -> bytes:
    return b"".join(v.to_bytes(_WORD, "big") for v in values)


class Chain:
    """An EVM in this process with one rich account."""

    def __init__(self) -> None:
        self._evm = pyrevm.EVM(spec_id="SHANGHAI")
        self._evm.set_balance(_SENDER, 10**24)
        self._placed = 0x1000

    def deploy(self, creation: bytes) -> str:
        """The contract's address. Raises ``RuntimeError`` when its constructor reverts."""
        return str(self._evm.deploy(_SENDER, creation))

    def place(self, runtime: bytes, address: str | None = None) -> str:
        """Places a contract at an address without deploying it; by default at a new one."""
        if address is None:
            self._placed += 1
            address = f"0x{self._placed:040x}"
        self._evm.insert_account_info(address, pyrevm.AccountInfo(code=runtime))
        return address

    def code(self, address: str) -> bytes:
        return bytes(self._evm.basic(address).code).rstrip(b"\0")  # it comes padded

    def call(self, address: str, calldata: bytes) -> bytes:
        """What the contract returns. Raises ``RuntimeError`` when it reverts."""
        return bytes(self._evm.message_call(_SENDER, address, calldata))

    def accepts(self, address: str, calldata: bytes) -> bool:
        """Whether the first word that comes back is true."""
        try:
            return int.from_bytes(self.call(address, calldata)[:_WORD], "big") == 1
        except RuntimeError:
            return False

    def refusal(self, address: str, calldata: bytes) -> bytes:
        """The first four bytes of what a contract reverts with."""
        try:
            self.call(address, calldata)
        except RuntimeError as error:
            said = re.search(r"output: 0x([0-9a-f]*)", str(error))
            return bytes.fromhex(said.group(1))[:4] if said else b""
        raise AssertionError("the contract did not revert")

    def error(self, signature: str) -> bytes:
        """The four bytes by which a contract's own error is known."""
        hashes = self.place(bytes.fromhex("365f5f37365f205f5260205ff3"))  # Keccak of the calldata
        return self.call(hashes, signature.encode())[:4]


def calldata(selector: bytes, proof: bytes, *arrays: Sequence[int]) -> bytes:
    """A call with a proof and arrays of words, canonically encoded."""
    return _encode(selector, proof, arrays, decoy=None)


def shifted(
    selector: bytes, proof: bytes, *arrays: Sequence[int], decoy: bytes | None = None
) -> bytes:
    """The same, but for the proof's offset: it points behind everything, at ``decoy`` (the proof
    itself when that is left out)."""
    return _encode(selector, proof, arrays, decoy=proof if decoy is None else decoy)


def _encode(
    selector: bytes, proof: bytes, arrays: Sequence[Sequence[int]], *, decoy: bytes | None
) -> bytes:
    at = _WORD * (1 + len(arrays))
    body = words(len(proof)) + proof
    offsets = [at]
    for array in arrays:
        offsets.append(at + len(body))
        body += words(len(array), *array)
    if decoy is not None:
        offsets[0] = at + len(body)
        body += words(len(decoy)) + decoy
    return selector + words(*offsets) + body


def forge(
    chain: Chain,
    verifier: str,
    selector: bytes,
    proof_bytes: int,
    arrays: Sequence[Sequence[int]],
    s: Point,
    prepare: Callable[[str], object] = lambda _: None,
) -> tuple[bytes, bytes]:
    """Body and decoy for ``shifted``, which the contract at ``verifier`` accepts for any instances.

    ``arrays`` are what is sent beside the proof: the instances first. ``s`` is [s] in G1, which
    every SRS holds. ``prepare`` is called with the address of a copy of the contract, before use.
    """
    code = chain.code(verifier)
    assert code.count(_PAIRING) == 1
    shows = chain.place(code.replace(_PAIRING, _SHOW_IT))
    prepare(shows)
    # Evaluations stand between the points, so the last two points are put where they are read.
    some = words(*GENERATOR) * (proof_bytes // _POINT + 1)
    decoy = some[: proof_bytes - 2 * _POINT] + words(*GENERATOR) * 2
    pairing = chain.call(shows, shifted(selector, decoy, *arrays, decoy=decoy))
    found = _read(pairing)
    missing = _add(s, (found[0], -found[1] % _Q))
    moved = words(*_add(GENERATOR, missing))
    for at in range(0, proof_bytes - _POINT, _POINT):
        tried = decoy[:at] + moved + decoy[at + _POINT :]
        if chain.accepts(verifier, shifted(selector, tried, *arrays, decoy=decoy)):
            return tried, decoy
    raise AssertionError("no commitment has coefficient one")


def s_of(srs: Path) -> Point:
    """[s] in G1: the second point of an SRS file (Montgomery form, little-endian)."""
    raw = srs.read_bytes()[4 + _POINT : 4 + 2 * _POINT]
    away = pow(1 << 256, -1, _Q)
    x, y = (int.from_bytes(raw[i : i + _WORD], "little") * away % _Q for i in (0, _WORD))
    return x, y


def _read(data: bytes) -> Point:
    return int.from_bytes(data[:_WORD], "big"), int.from_bytes(data[_WORD:_POINT], "big")


def _add(a: Point, b: Point) -> Point:
    """The sum of two points of BN254's G1, neither of them nor the sum at infinity."""
    if a == b:
        slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, _Q)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, _Q)
    x = (slope * slope - a[0] - b[0]) % _Q
    return x, (slope * (a[0] - x) - a[1]) % _Q
