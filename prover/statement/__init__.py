"""What a proof means, and the files that say so: statement, predicate, signed envelope, bundle,
keys.

An auditor needs this room and ``prover.verify``; neither knows of jobs, stores or settings."""
