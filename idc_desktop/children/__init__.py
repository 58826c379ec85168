"""The child processes: one job each, in a process that may die."""
