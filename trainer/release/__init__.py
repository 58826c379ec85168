"""From a finished run to a file that is shipped: model, card, report."""
