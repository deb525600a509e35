"""Verification: ``bundle`` has the numbered list of checks, ``checks`` each of them, ``bare_proof``
what a proof without a statement establishes."""
