"""One file a dialect: inspect the body, patch it, scan the answer."""
