"""Files that the program keeps or replaces as a whole, and the data folder."""
