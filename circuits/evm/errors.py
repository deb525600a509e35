"""What can go wrong on the way to a verifier contract."""

from __future__ import annotations

from circuits.errors import Fault, ZkmlError


class SolcMissing(ZkmlError):
    """The Solidity compiler that verifier contracts need is not installed."""

    code = "solc_missing"
    fault = Fault.INPUT
    default_advice = (
        "Install solc 0.8.20, for example with `npm install -g solc@0.8.20`, and put solc or"
        " solcjs on PATH, or set ZKML_SOLC to its path."
    )


class SolcFailed(ZkmlError):
    """The Solidity compiler did not compile the verifier contract."""

    code = "solc_failed"


class ContractTooLarge(ZkmlError):
    """The verifier contract of every candidate exceeds the contract size limit."""

    code = "contract_too_large"
    fault = Fault.TOO_LARGE
    default_advice = (
        "Allow a larger error or export a smaller model. If proofs are checked off chain, do not"
        " ask for the target evm."
    )


class NotForContracts(ZkmlError):
    """This circuit leaves checks to the verifier that no contract performs."""

    code = "circuit_not_for_contracts"
    fault = Fault.INPUT
    default_advice = "Build the circuit again with --target evm and weights that are not hidden."
