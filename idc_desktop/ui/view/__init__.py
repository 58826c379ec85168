"""The view of the slide: where it looks, its tiles, the map, and what the mouse does."""
