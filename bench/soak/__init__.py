"""The adversary: everything that can go wrong, at random, and then the books are compared."""
