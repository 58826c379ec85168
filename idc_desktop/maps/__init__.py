"""The map of a slide: its grid, the values on it, and how they are drawn."""
