"""What a circuit is: its profile, manifest, tensors, commitments, and the numbers in them.

Prover and verifier share this room; nothing here compiles, plans or calls the engine."""
