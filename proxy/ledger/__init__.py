"""Holds and settlements: one protocol, in memory and in SQL. ``opening`` makes one."""
