"""A circuit's verifier as a contract: written by the engine, compiled by solc, held to EIP-170, and
reached through a guard only.

``solc`` finds and runs the compiler, which is never bundled; ``contract`` is what comes out;
``guard`` is what stands before it. Deploying them and sending proofs is the caller's own affair.
"""
