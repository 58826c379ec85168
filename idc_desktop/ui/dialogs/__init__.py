"""What opens over the window and is read, then closed."""
