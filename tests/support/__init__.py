"""What the tests share: small real slide files, tiny real models, and the command line."""
