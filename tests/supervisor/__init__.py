"""The supervisor: whatever kills the reader process, the job ends and the right part is blamed."""
