"""The docks of the window: what can be set and what can be read; each watches the document."""
