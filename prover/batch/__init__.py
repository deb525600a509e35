"""Batches: many inputs in few proofs, each input with its own receipt.

``rows`` reads a file of inputs row by row, ``ingest`` stores them, ``packing`` decides how many
share a proof, ``planning`` and ``proving`` are a batch's jobs, ``results`` writes its results.
"""
