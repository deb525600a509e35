"""What can go wrong on the way to a verifier contract."""

from __future__ import annotations

from circuits.errors import Fault, ZkmlError


class SolcMissing(ZkmlError):
    """There is no Solidity compiler here of the version that verifier contracts are made with."""

    code = "solc_missing"
    fault = Fault.INPUT
    default_advice = (
        "Install solc 0.8.20, for example with `npm install -g solc@0.8.20`, and have solc or"
        " solcjs on PATH, or name its path in ZKML_SOLC."
    )


class SolcFailed(ZkmlError):
    """The Solidity compiler did not compile the verifier contract."""

    code = "solc_failed"


class ContractTooLarge(ZkmlError):
    """Every circuit tried has a verifier contract that no chain would take."""

    code = "contract_too_large"
    fault = Fault.TOO_LARGE
    default_advice = (
        "Allow a larger error or export a smaller model; for proofs that are checked off chain,"
        " leave out the target evm."
    )


class NotForContracts(ZkmlError):
    """A contract cannot check what this circuit leaves to whoever verifies its proofs."""

    code = "circuit_not_for_contracts"
    fault = Fault.INPUT
    default_advice = "Build the circuit again with --target evm and weights that are not hidden."
