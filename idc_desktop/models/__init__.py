"""Models: the file, the card in it, and inference."""

DEFAULT_MODEL = "vgg16-features"
"""Where none is named: the bundled model that holds best on other laboratories' slides."""
