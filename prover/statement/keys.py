"""Signing keys: a folder of Ed25519 keys, their rotation, revocation and publication.

``keyring.json`` in the folder is the public record of every key this deployment ever signed with.
Private keys are beside it, one file each, mode 0600. A key in a KMS or HSM is added by its
securesystemslib signer URI, and its private half stays there.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuits.format.digests import canonical_json, sha256
from prover.errors import KeyringUnusable, KeyUnknown, PolicyInvalid, ReceiptInvalid

if TYPE_CHECKING:  # loads clients of every KMS it supports: only for other key types
    from securesystemslib.signer import Key, Signer, SSlibKey

_RING = "keyring.json"
_SCHEMA = 1
_MAX_KEYS = 1000


class KeyState(enum.StrEnum):
    """The state of a key."""

    ACTIVE = "active"  # signs now
    RETIRED = "retired"  # signed until ``retired_at``: receipts until then stay valid
    REVOKED = "revoked"  # all its receipts are invalid


@dataclass(frozen=True, kw_only=True)
class PublicKey:
    """A public key and its state. Times are RFC 3339, UTC.

    ``public`` is hex for Ed25519, PEM for other key types (as in securesystemslib).
    """

    keytype: str
    scheme: str
    public: str
    state: KeyState = KeyState.ACTIVE
    created_at: str = ""
    retired_at: str | None = None
    revoked_at: str | None = None
    reason: str | None = None

    @property
    def keyid(self) -> str:
        """SHA-256 of ``{"keytype","keyval":{"public"},"scheme"}`` as canonical JSON, 64 hex digits.

        For Ed25519 this is securesystemslib's default.
        """
        described = {
            "keytype": self.keytype,
            "keyval": {"public": self.public},
            "scheme": self.scheme,
        }
        return sha256(canonical_json(described)).removeprefix("sha256:")

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether ``signature`` over ``message`` is this key's; ignores the key's state."""
        if self.keytype == self.scheme == "ed25519":
            return verifies_ed25519(self.public, signature, message)
        from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
        from securesystemslib.signer import Signature

        try:
            self._key().verify_signature(Signature(self.keyid, signature.hex()), message)
        except (UnverifiedSignatureError, VerificationError):
            return False
        return True

    def _key(self) -> SSlibKey:
        from securesystemslib.signer import SSlibKey

        return SSlibKey(self.keyid, self.keytype, self.scheme, {"public": self.public})

    @classmethod
    def of(cls, key: Key) -> PublicKey:
        """The record of a securesystemslib public key. Raises ``KeyringUnusable``."""
        public = key.keyval.get("public")
        if not isinstance(public, str):
            raise KeyringUnusable("the key has no public part as text")
        return cls(keytype=key.keytype, scheme=key.scheme, public=public, created_at=_now())

    def to_json(self) -> dict[str, Any]:
        return {"keyid": self.keyid, **asdict(self), "state": self.state.value}

    @classmethod
    def from_json(cls, data: Any) -> PublicKey:
        """Reads ``to_json``. Raises ``ValueError`` for a bad field or another's keyid."""
        fields = {
            "keytype": str,
            "scheme": str,
            "public": str,
            "state": str,
            "created_at": str,
            "retired_at": str | None,
            "revoked_at": str | None,
            "reason": str | None,
        }
        if not isinstance(data, dict) or set(data) != {"keyid", *fields}:
            raise ValueError("a key has missing or unknown fields")
        for name, kind in fields.items():
            if not isinstance(data[name], kind):
                raise ValueError(f"a key's {name} is not text")
        key = cls(**{**{name: data[name] for name in fields}, "state": KeyState(data["state"])})
        if key.keyid != data["keyid"]:
            raise ValueError(f"keyid {str(data['keyid'])[:16]!r} is not this key's digest")
        if key.state is KeyState.RETIRED:
            retired = datetime.fromisoformat(key.retired_at or "")
            if retired.tzinfo is None:
                raise ValueError("retired_at has no UTC offset")
        return key


def verifies_ed25519(public: str, signature: bytes, message: bytes) -> bool:
    """Whether ``signature`` over ``message`` is that of the public key (64 hex digits)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(signature, message)
    except (InvalidSignature, ValueError):  # ValueError: not hex, or not 32 bytes
        return False
    return True


def signer_document(key: PublicKey) -> bytes:
    """A public key as in a bundle, without its state, which verifiers get elsewhere."""
    return canonical_json(
        {
            "keyid": key.keyid,
            "keytype": key.keytype,
            "public": key.public,
            "scheme": key.scheme,
        }
    )


def parse_signer_document(data: bytes) -> PublicKey:
    """Reads ``signer_document`` strictly. Raises ``ReceiptInvalid``."""
    try:
        bare = json.loads(data)
        key = PublicKey(keytype=bare["keytype"], scheme=bare["scheme"], public=bare["public"])
        same = signer_document(key) == data
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ReceiptInvalid(f"the signer's key cannot be read: {str(error)[:120]}") from error
    if not same:
        raise ReceiptInvalid("the signer's key does not match its keyid")
    return key


def public_document(keys: tuple[PublicKey, ...]) -> bytes:
    """The published key set, as served under /.well-known/ and used as a policy's ``trusted``."""
    return canonical_json({"keys": [k.to_json() for k in keys], "schema": _SCHEMA})


def parse_public_document(data: bytes) -> tuple[PublicKey, ...]:
    """Reads a published key set. Raises ``PolicyInvalid``."""
    try:
        document = json.loads(data)
        if not isinstance(document, dict) or document.get("schema") != _SCHEMA:
            raise ValueError(f"not a key set of schema {_SCHEMA}")
        listed = document.get("keys")
        if not isinstance(listed, list) or len(listed) > _MAX_KEYS:
            raise ValueError("'keys' is not a list of at most 1000")
        keys = tuple(PublicKey.from_json(k) for k in listed)
        if len({k.keyid for k in keys}) != len(keys):
            raise ValueError("a key is repeated")
    except (ValueError, RecursionError) as error:
        raise PolicyInvalid(f"the key set cannot be read: {str(error)[:200]}") from error
    return keys


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A key of the ring. ``uri`` is a securesystemslib signer URI; ``file2:`` is a local file."""

    key: PublicKey
    uri: str


class KeyRing:
    """The keys of one deployment. Several processes may open the same folder at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def open(cls, folder: Path) -> KeyRing:
        """Opens a key folder, creating it with one Ed25519 key on first run.

        Raises ``KeyringUnusable`` when it cannot be read or written, or when other users can read a
        private key.
        """
        ring = cls(folder)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with ring._locked():
                if not ring._path.exists():
                    ring._write([ring._create()])
        except OSError as error:
            raise KeyringUnusable(f"cannot use the key folder: {error.strerror}") from error
        ring.signer()
        return ring

    @classmethod
    def find(cls, folder: Path) -> KeyRing | None:
        """The key ring of a folder, if it exists; creates nothing."""
        ring = cls(folder)
        return ring if ring._path.exists() else None

    @classmethod
    def known(cls, folder: Path) -> tuple[PublicKey, ...]:
        """The keys of a folder; empty without a readable ring."""
        try:
            ring = cls.find(folder)
            return ring.keys if ring else ()
        except (KeyringUnusable, OSError):
            return ()

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        """Every key that ever signed, newest first."""
        return tuple(entry.key for entry in self._read())

    @property
    def active(self) -> PublicKey:
        """The key that signs. Raises ``KeyringUnusable`` when there is none."""
        return self._active().key

    def document(self) -> bytes:
        """The public key set: no private part, no URI."""
        return public_document(self.keys)

    def signer(self) -> Signer:
        """A signer for the active key: from its file, KMS or HSM.

        Raises ``KeyringUnusable`` when the key cannot be loaded or is not the one recorded.
        """
        from securesystemslib.signer import CryptoSigner, Signer

        entry = self._active()
        key = entry.key._key()
        scheme, _, name = entry.uri.partition(":")
        try:
            if scheme != CryptoSigner.SCHEME:
                return Signer.from_priv_key_uri(entry.uri, key)
            path = self._folder / name
            if path.stat().st_mode & 0o077:
                raise KeyringUnusable(
                    f"other users can read the private key {name}", advice=f"chmod 600 {name}"
                )
            return Signer.from_priv_key_uri(f"{scheme}:{path.absolute()}", key)
        except KeyringUnusable:
            raise
        except Exception as error:  # a signer raises any error of its backend
            raise KeyringUnusable(
                f"the signing key {entry.key.keyid[:16]} cannot be loaded: {type(error).__name__}"
            ) from error

    def rotate(self, overlap: timedelta = timedelta(days=1)) -> PublicKey:
        """Creates a new signing key and returns it.

        The old key retires at the end of ``overlap``: receipts that workers issue with it until
        then are valid, later ones are not.
        """
        return self._succeed(self._create, overlap)

    def use_external(self, uri: str, key: Key, overlap: timedelta = timedelta(days=1)) -> PublicKey:
        """Signs from now on with a key held elsewhere, by its signer URI (``hsm:``, ``awskms:`` …).

        ``key`` is its public half. The URI stays in the key folder and is never published.
        """
        return self._succeed(lambda: _Entry(key=PublicKey.of(key), uri=uri), overlap)

    def revoke(self, keyid: str, reason: str) -> None:
        """Revokes a key: all its receipts become invalid. An active key is replaced.

        Raises ``KeyUnknown``.
        """
        with self._locked():
            entries = self._read()
            if keyid not in {e.key.keyid for e in entries}:
                raise KeyUnknown(f"there is no key {keyid[:16]}", keyid=keyid)
            was_active = entries[0].key.keyid == keyid
            entries = [
                replace(e, key=_revoked(e.key, reason)) if e.key.keyid == keyid else e
                for e in entries
            ]
            self._write([self._create(), *entries] if was_active else entries)

    def _succeed(self, make: Callable[[], _Entry], overlap: timedelta) -> PublicKey:
        with self._locked():
            first, *rest = self._read()
            new = make()
            if first.key.state is KeyState.ACTIVE:
                until = _stamp(datetime.now(UTC) + overlap)
                retired = replace(first.key, state=KeyState.RETIRED, retired_at=until)
                first = replace(first, key=retired)
            self._write([new, first, *rest])
        self.signer()
        return new.key

    def _active(self) -> _Entry:
        entry = self._read()[0]
        if entry.key.state is not KeyState.ACTIVE:
            raise KeyringUnusable("the key folder has no active key")
        return entry

    @property
    def _path(self) -> Path:
        return self._folder / _RING

    def _create(self) -> _Entry:
        from securesystemslib.signer import CryptoSigner

        signer = CryptoSigner.generate_ed25519()
        key = PublicKey.of(signer.public_key)
        name = f"{key.keyid[:16]}.pem"
        _write_new(self._folder / name, signer.private_bytes)
        return _Entry(key=key, uri=f"{CryptoSigner.SCHEME}:{name}")

    def _read(self) -> list[_Entry]:
        try:
            document = json.loads(self._path.read_bytes())
            entries = [
                _Entry(key=PublicKey.from_json(e["key"]), uri=e["uri"]) for e in document["keys"]
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise KeyringUnusable(f"{_RING} cannot be read: {str(error)[:120]}") from error
        if not entries:
            raise KeyringUnusable(f"{_RING} names no key")
        return entries

    def _write(self, entries: list[_Entry]) -> None:
        document = {
            "keys": [{"key": e.key.to_json(), "uri": e.uri} for e in entries],
            "schema": _SCHEMA,
        }
        draft = self._folder / f".{_RING}.{os.getpid()}"
        draft.unlink(missing_ok=True)
        _write_new(draft, json.dumps(document, indent=1).encode())
        draft.replace(self._path)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._folder / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _revoked(key: PublicKey, reason: str) -> PublicKey:
    return replace(key, state=KeyState.REVOKED, revoked_at=_now(), reason=reason[:200])


def _write_new(path: Path, data: bytes) -> None:
    # Created with its final mode, so that other users can never read it.
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with open(descriptor, "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _now() -> str:
    return _stamp(datetime.now(UTC))
