"""Running jobs: ``pipeline`` takes one from claim to receipt, ``circuit_registry`` finds or builds
its circuit, ``lease`` renews its lease, ``notifications`` wake its waiters."""
