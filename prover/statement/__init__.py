"""The meaning of a proof and its files: statement, predicate, signed envelope, bundle, keys.

An auditor needs this package and ``prover.verify``; both are independent of jobs, store and
settings."""
