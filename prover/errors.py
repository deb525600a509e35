"""Errors that the prover package raises, beside those of ``circuits.errors``."""

from __future__ import annotations

from circuits.errors import Fault, ZkmlError

# --- receipts, bundles, keys -------------------------------------------------------------------


class ContextInvalid(ZkmlError):
    """The context of a proof cannot be used."""

    code = "context_invalid"
    fault = Fault.INPUT
    default_hint = "A context has a nonce, chain_id, consumer and expires_at, each optional."


class ReceiptInvalid(ZkmlError):
    """The file is not a receipt of this project."""

    code = "receipt_invalid"
    fault = Fault.INPUT


class BundleInvalid(ZkmlError):
    """The file is not a bundle of this project, or not one as it was written."""

    code = "bundle_invalid"
    fault = Fault.INPUT
    default_hint = "Fetch the .zkml file again; a bundle must not be repacked or edited."


class BundleTooLarge(BundleInvalid):
    """The bundle is over the size that is read."""

    code = "bundle_too_large"
    fault = Fault.TOO_LARGE


class PolicyInvalid(ZkmlError):
    """The verification policy cannot be used."""

    code = "policy_invalid"
    fault = Fault.INPUT


class KeyringUnusable(ZkmlError):
    """The signing keys cannot be used."""

    code = "keyring_unusable"
    default_hint = "The key folder must hold keyring.json and its key files, mode 0600."


class KeyUnknown(ZkmlError):
    """There is no such signing key."""

    code = "key_unknown"
    fault = Fault.NOT_FOUND


class StatementRefused(ZkmlError):
    """The statement about a fresh proof did not pass our own verification."""

    code = "statement_refused"
