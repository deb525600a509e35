"""What a model file holds, and whether it can be proved: read, bounded, before any other work.

``reading`` parses bytes nobody has vouched for, ``shapes`` fixes dimensions, ``operators`` knows
which operators the engine computes faithfully, ``summary`` puts it together.
"""

from circuits.inspect.summary import ModelSummary, OperatorUse, inspect_model

__all__ = ["ModelSummary", "OperatorUse", "inspect_model"]
