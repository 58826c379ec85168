"""The view of the slide: its tiles, the map, and what the mouse does."""
