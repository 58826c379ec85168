"""Patches: kept, parted, weighed, varied and painted."""
