"""Signatures of owners."""

from __future__ import annotations

from coincurve import PrivateKey
from Crypto.Hash import keccak


def eip191(message: bytes) -> dict[str, str]:
    """As a wallet's personal_sign does it."""

    def digest(data: bytes) -> bytes:
        return keccak.new(digest_bits=256, data=data).digest()

    key = PrivateKey()
    prefixed = b"\x19Ethereum Signed Message:\n" + str(len(message)).encode() + message
    raw = key.sign_recoverable(digest(prefixed), hasher=None)
    address = digest(key.public_key.format(compressed=False)[1:])[-20:].hex()
    signature = raw[:64] + bytes([raw[64] + 27])
    return {"scheme": "eip191", "signer": f"0x{address}", "signature": f"0x{signature.hex()}"}
