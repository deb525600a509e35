"""The processes of a service on one machine, and where it may listen."""
