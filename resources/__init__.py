"""Data files that ship with the application; installed as ``idc_desktop.resources``."""
