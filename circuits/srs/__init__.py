"""The structured reference string (SRS): where the files lie, what each is worth.

``ceremony`` pins the public files, ``files`` keeps a folder of them, ``fetch`` downloads,
``verify_part`` cuts out the 516 bytes that verification needs. ``identity`` and
``input_identity`` compare commitments.
"""
