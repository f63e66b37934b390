"""The configuration: one YAML file, the environment over it, every mistake explained."""

from proxy.settings.alerts import AlertSettings, ChannelSettings
from proxy.settings.budgets import BudgetSettings, Reserve, ScopedBudgetSettings
from proxy.settings.changes import changed, needs_restart
from proxy.settings.load import load_settings
from proxy.settings.models import (
    AcceptedKeys,
    AwsSettings,
    BatchSettings,
    Defaults,
    KeySettings,
    LedgerSettings,
    LimitSettings,
    LoggingSettings,
    MetricsSettings,
    ModelRule,
    OrganisationSettings,
    PriceOverride,
    ServerSettings,
    Settings,
    TeamSettings,
    UpstreamSettings,
)
from proxy.settings.tracing import TracingSettings

__all__ = [
    "AcceptedKeys",
    "AlertSettings",
    "AwsSettings",
    "BatchSettings",
    "BudgetSettings",
    "ChannelSettings",
    "Defaults",
    "KeySettings",
    "LedgerSettings",
    "LimitSettings",
    "LoggingSettings",
    "MetricsSettings",
    "ModelRule",
    "OrganisationSettings",
    "PriceOverride",
    "Reserve",
    "ScopedBudgetSettings",
    "ServerSettings",
    "Settings",
    "TeamSettings",
    "TracingSettings",
    "UpstreamSettings",
    "changed",
    "load_settings",
    "needs_restart",
]
