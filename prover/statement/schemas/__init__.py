"""JSON Schemas of signed statements, written by ``python -m prover.statement.schema``."""
