"""The window; the only room for Qt. It never opens a slide or a model session itself."""
