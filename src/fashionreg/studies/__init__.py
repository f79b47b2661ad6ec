"""Variants x seeds: what a run leaves behind and what can be concluded from it. Nothing here needs torch."""
