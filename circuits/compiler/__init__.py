"""From a model to a circuit that serves: ``process`` runs in compiler children, ``build`` calls
them."""
