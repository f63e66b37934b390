"""Checks against programs that the tests do not install: started by hand, through make."""
