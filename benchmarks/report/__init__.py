"""From rows to tables, plots and comparisons."""
