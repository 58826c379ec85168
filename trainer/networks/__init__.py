"""Networks and how their weights are moved."""
