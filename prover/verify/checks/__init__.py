"""The checks behind ``prover.verify.bundle``, which has their numbered list.

``evidence`` holds what is looked at and keeps a check from crashing its caller; the other modules
hold the checks, each a function that returns what it found or ends by refuse, warn or skip.
"""
