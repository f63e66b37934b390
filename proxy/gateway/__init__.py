"""The data path: from a request to its settled row."""
