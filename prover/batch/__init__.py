"""Many inputs, few proofs: read, planned into packs, proved lane by lane, each with its receipt.

``rows`` reads a file of inputs one at a time, ``intake`` keeps them, ``packing`` decides how many
share a proof, ``planning`` and ``proving`` are what a batch's jobs do, ``results`` hands out what
came of it.
"""
