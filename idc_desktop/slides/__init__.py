"""Slides: which there are, which files they have, what is known of them, their pixels."""
