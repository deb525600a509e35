"""The planner chooses a circuit for a model: it lays out many candidates and compares them.

* ``committed``, ``integers`` and ``fixed_point``: the three lowering paths. Each yields
  ``lowered_candidates``, graphs whose number formats are exact enough; ``graphs`` makes them in
  child processes.
* ``layouts``: bases, legs, columns and rows for one graph.
* ``effort``: how many candidates are set up and proved to measure their time.
* ``planner``: the choice and its reasons.
* ``estimate`` (before any work), ``calibrate`` (fits the cost model to a machine), ``picture``.
"""
