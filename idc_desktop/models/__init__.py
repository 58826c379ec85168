"""Models: the file, the card in it, and inference."""
