"""Servers and hosts on this machine, for measurements and tests: PostgreSQL, S3, namespaces."""
