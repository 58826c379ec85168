"""Figures of merit, calibration, and the log of looks at what is kept back."""
