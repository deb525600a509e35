"""The processes of a service on one machine, and the addresses it may listen on."""
