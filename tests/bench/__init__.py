"""Speed and memory figures, ``python -m tests.bench`` (``make bench``). Linux only."""
