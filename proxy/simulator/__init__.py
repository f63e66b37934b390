"""The built-in provider, with an invoice of its own. It imports nothing of the rest of Farebox."""
