"""The end-to-end demo, ``zkml demo``, and its model."""
