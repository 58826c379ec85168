"""Training that survives kills: one network, or one for each fold."""
