"""Farebox: an OpenAI-compatible metering reverse proxy."""
