"""What steps a recipe may have: those that this compiler could have chosen for some samples."""

from __future__ import annotations

import math
from dataclasses import replace

from circuits.committed.arithmetic import Steps, SumSteps, entries
from circuits.committed.network import Kind, Sum
from circuits.lower.committed.quantising.integers import MOST_DIGITS, MOST_SHIFT, IntegerSteps
from circuits.lower.committed.quantising.steps import EXACT, MOST_FINER
from circuits.lower.committed.quantising.tables import is_exact
from circuits.lower.committed.reading.network import Read
from circuits.lower.errors import CannotLower


def check_steps(read: Read, steps: Steps) -> None:
    """Raises ``CannotLower`` for steps that ``choose_steps`` gives to no samples: those under which
    a network of integers is another function than the model."""
    network = read.network
    if len(steps.inputs) != len(network.inputs) or len(steps.sums) != len(network.sums):
        raise CannotLower("the steps are those of another network")
    if not 2 <= steps.base <= entries(steps.logrows):
        raise CannotLower("the steps fit no table")
    for given in steps.inputs:
        if type(given.finer) is not int or not 0 <= given.finer <= MOST_FINER:
            raise CannotLower("an input is longer than any that is chosen")
        longest = steps.base << given.finer
        if longest > EXACT:  # what whoever verifies bounds is compared in doubles
            raise CannotLower("an input has more steps than doubles tell apart")
        if type(given.scale) is not int or not 0 <= given.offset < longest:
            raise CannotLower("an input is offset as no table allows")
    if steps.function is not None and not is_exact(steps.function, steps.base):
        raise CannotLower("the table of functions is none that is chosen")
    _check_sums(read, steps)


def _check_sums(read: Read, steps: Steps) -> None:
    network = read.network
    made = IntegerSteps(network, steps)
    for (row, step), own in zip(network.sums, steps.sums, strict=True):
        if type(own.scale) is not float or not math.isfinite(own.scale) or own.scale <= 0:
            raise CannotLower("a sum's scale is no positive number")
        most = 0 if row in read.alike else MOST_SHIFT
        if len(own.shifts) != step.shape[2] or not all(
            type(n) is int and 0 <= n <= most for n in own.shifts
        ):
            raise CannotLower("a channel's steps are finer or longer than any that are chosen")
        if step.kind is not Kind.DECIDED and len(made.sums) >= len(steps.of_columns):
            ones = row in read.ones
            if ones and (own.scale != 1 or own.digits != 0 or any(own.shifts)):
                raise CannotLower("what counts in ones would count in other steps")
            bare = ones or replace(own, kinks=()) == made.looked_up(step)
            _check_digits(step, own, bare=bare, rounded=made.rounded_digits(step))
            signed = step.kind is Kind.SIGNED or (step.kind is Kind.RESULT and own.digits > 0)
            if type(own.offset) is not int or not 0 <= own.offset < (steps.base if signed else 1):
                raise CannotLower("a sum is offset as no table allows")
        while len(made.lengths) < row:
            made.local()
        made.add(step, own)
        if made.sums[-1].kinks != own.kinks:
            raise CannotLower("a recipe has pieces of no function")


def _check_digits(step: Sum, own: SumSteps, *, bare: bool, rounded: int) -> None:
    """``bare``: whether a sum takes no remainder. ``rounded``: a rounded sum's digits."""
    if step.rounded and (own.scale, own.digits) != (1.0, rounded):
        raise CannotLower("a sum is rounded to other steps than the model's")
    least = 0 if bare or step.kind is Kind.RESULT else 1
    if type(own.digits) is not int or not least <= own.digits <= MOST_DIGITS + step.rounded:
        raise CannotLower("a sum has a remainder that is none")
