"""Results of products given to a circuit instead of being computed in it.

A product of ``[R, K] · [K, F]`` costs an assignment for each of its R·K·F multiplications. To check
results c that are *given* costs far fewer, in one of two ways (``checks``):

*Packed.* Results are integers of some twenty bits, and the field has 254. With weights packed
as ``W_i = Σ_j w_ij 2^(b·j)``, one equation ``Σ_j c_j 2^(b·j) = Σ_i x_i W_i`` says the same as ten
or more ``c_j = Σ_i x_i w_ij``. It says so only if every c_j is known to be small, whoever gives it.
Let no true result exceed T and no given one B in magnitude, and ``2^b > T + B``. Then the
differences ``d_j`` of given and true results are smaller than 2^b, the sum ``Σ d_j 2^(b·j)`` is
smaller than the field's modulus, and it vanishes only where every d_j does: mod 2^b that is d_0,
and so on. (The same holds where only t·c_j is known to be small, with t·T in the place of T: the
equation times t is one about t·d_j.) T is interval arithmetic over the accepted inputs, which the
verifier checks; ``reach`` finds B in what the circuit does with a result: a ReLU takes it apart
into digits, an output is looked at by the verifier.

*Challenged.* Results are shown, and a challenge r is a hash of the key, the inputs and all results
shown. ``Σ_j c_j r^j = Σ_i x_i (Σ_j w_ij r^j)`` then holds for other than the true results for at
most F of some 2^248 challenges (Schwartz and Zippel; the check is Freivalds', the hash Fiat and
Shamir's). The inner sums are the same for all rows, and for all inputs that share a proof. Where
results are known to be small, c_j and w_ij are packed here too: one power of r for each group of
ten or more, so that the inner sums have a tenth of the terms. A challenge then says that every
group's sum of ``d_j 2^(b·j)`` vanishes, and that says, as above, that every d_j does.

Either is an argument about one product whose left side is true, and products are looked at in graph
order. It has to be *the* true one: no product is given behind an operator whose result the engine
leaves a choice (a division is right to one). What is left of each equation, its *residue*, is a
public output, and has to be zero.
"""

from circuits.lower.hinting.selection import with_hints

__all__ = ["with_hints"]
