"""The admin API, and what machines ask besides: health, readiness, metrics."""
