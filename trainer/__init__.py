"""Training, calibration and export of the models that IDC Desktop runs."""
