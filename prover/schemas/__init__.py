"""JSON Schemas of what this project signs, written by ``python -m prover.schema``."""
