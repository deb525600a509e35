"""How a job goes: ``pipeline`` takes one from its claim to its receipt, ``circuit_registry`` finds
or builds its circuit, ``lease`` keeps it, ``notifications`` tell who waits for it."""
