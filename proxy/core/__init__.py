"""The product's rules, pure: no I/O, no async, no clock, no framework. Time comes in as an argument."""
