"""Processes and what they say to each other: frames, messages, supervision."""
