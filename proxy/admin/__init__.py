"""The admin API, and what machines ask besides: health, readiness, metrics."""

from proxy.admin.api import create_admin
from proxy.admin.deps import AdminDeps

__all__ = ["AdminDeps", "create_admin"]
