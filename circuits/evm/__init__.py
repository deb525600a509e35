"""A circuit's verifier as a contract: written by the engine, compiled by solc, held to EIP-170.

``solc`` finds and runs the compiler, which is never bundled; ``contract`` is what comes out.
Deploying one, and sending it proofs, is the caller's own affair.
"""
