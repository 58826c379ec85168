"""The pixels of a slide for the screen: which tiles show it, and the process that reads them."""
