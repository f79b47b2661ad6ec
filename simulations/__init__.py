"""Simulated studies: how often the statistics err, and how often the intervals cover."""
