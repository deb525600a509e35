"""The proof engine behind a port: ``port`` says what one does, ``ezkl_engine`` does it with EZKL.

``sandbox`` runs calls in child processes that can be killed; ``calls`` is what runs in there, and
the only module that imports ``ezkl``.
"""
