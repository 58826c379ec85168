"""From slides and outlines to patches with labels."""
