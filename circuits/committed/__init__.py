"""Committed hints: what prover and verifier of such a circuit share.

``claim`` is what a manifest says and how challenges follow; ``network`` and ``arithmetic`` are the
integers that are proved; ``arrangement`` is the order in which they are committed to, with salt;
``hints`` makes the engine's inputs. docs/decisions/0015-committed-hints.md has the argument.
"""
