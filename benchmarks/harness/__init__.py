"""How anything is measured: processes, samples, rounds, rows."""
