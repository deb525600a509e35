"""JSON Schemas of what this project signs, written by ``python -m prover.statement.schema``."""
