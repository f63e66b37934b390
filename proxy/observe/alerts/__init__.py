"""Alerts on their way out: looked for, queued in the database, sent, and tried again."""

from proxy.observe.alerts.alerting import Alerting
from proxy.observe.alerts.channels import Channel, NotTaken, open_channel

__all__ = ["Alerting", "Channel", "NotTaken", "open_channel"]
