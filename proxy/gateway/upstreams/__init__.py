"""The HTTP clients of the data path: one protocol, contract-tested."""
