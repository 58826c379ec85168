"""The settings of a model's context map, fitted on complete labelled slides."""
