"""The measured systems: each builds, proves and verifies the same model on the same inputs."""
