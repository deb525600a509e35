"""Those who are measured: each makes, proves and verifies the same model on the same inputs."""
