"""The checks of ``prover.verify.bundle``, which numbers them.

``evidence`` holds the data under verification and turns crashes of checks into failures. The other
modules hold the checks: functions that return what they found or end by refuse, warn or skip.
"""
