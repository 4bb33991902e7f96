"""Measurements, each a command: ratios measured side by side in one run."""
