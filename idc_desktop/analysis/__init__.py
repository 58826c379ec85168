"""From a slide to states and probabilities of its patches; works in a child process."""
