"""What a channel is told: one alert in the words of each receiver. Pure."""

import hashlib
import hmac
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Any

from proxy.core.alerts import Alert, AlertKind
from proxy.core.money import usd
from proxy.core.present import iso

Json = dict[str, Any]

SIGNATURE = "x-farebox-signature"
_ICONS = {"critical": ":red_circle:", "warning": ":warning:", "info": ":information_source:"}


def event(alert: Alert) -> Json:
    """The alert as JSON: the body of a plain webhook."""
    return {
        "id": alert.id,
        "event": "test" if alert.kind is AlertKind.TEST else f"budget.{alert.kind}",
        "severity": alert.severity,
        "title": alert.title,
        "at": iso(alert.at_us),
        "percent": alert.percent,
        "budget": {
            "id": alert.budget_id,
            "scope": alert.scope,
            "subject": alert.subject,
            "team": alert.team,
            "window": alert.window,
            "window_starts_at": iso(alert.starts_at * 1_000_000),
            "resets_at": None if alert.resets_at is None else alert.resets,
            "blocks": alert.blocks,
            "limit_usd": usd(alert.limit_nano),
            "spent_usd": usd(alert.spent_nano),
            "held_usd": usd(alert.held_nano),
            "forecast_usd": None if alert.forecast_nano is None else usd(alert.forecast_nano),
        },
    }


def signed(body: bytes, secret: str, at_s: int) -> str:
    """The signature header of a body: ``t=<epoch seconds>,v1=<hex>``.

    ``v1`` is the HMAC-SHA256 of ``<t>.<body>``; a receiver refuses an old ``t``, so that what was
    caught on the way can't be sent again.
    """
    digest = hmac.new(secret.encode(), b"%d." % at_s + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"


def slack(alert: Alert) -> Json:
    """For a Slack incoming webhook, and what takes the same: Mattermost, Discord's /slack."""
    left = max(alert.limit_nano - alert.spent_nano - alert.held_nano, 0)
    fields = {
        "Limit": usd(alert.limit_nano),
        "Spent": usd(alert.spent_nano),
        "Held": usd(alert.held_nano),
        "Left": usd(left),
    }
    shown = [{"type": "mrkdwn", "text": f"*{name}*\n${amount}"} for name, amount in fields.items()]
    text = f"{_ICONS[alert.severity]} {_escaped(alert.title)}"
    return {
        "text": text,
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": text}},
            {"type": "section", "fields": shown},
        ],
    }


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def pagerduty(alert: Alert, routing_key: str) -> Json:
    """For PagerDuty's Events API v2. One incident for each budget's window."""
    cause = f"{alert.budget_id}|{alert.subject}|{alert.starts_at}"
    return {
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": alert.id if alert.kind is AlertKind.TEST else cause,
        "payload": {
            "summary": alert.title[:1024],
            "source": "farebox",
            "severity": alert.severity,
            "timestamp": iso(alert.at_us),
            "component": "budgets",
            "group": alert.team or alert.scope,
            "class": str(alert.kind),
            "custom_details": event(alert)["budget"],
        },
    }


def email(alert: Alert, sender: str, to: list[str]) -> EmailMessage:
    """As a mail in plain text."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = ", ".join(to)
    message["Subject"] = f"[Farebox] {alert.title[:180]}"
    message["Date"] = format_datetime(datetime.fromtimestamp(alert.at_us / 1_000_000, UTC))
    message["Message-ID"] = make_msgid(domain="farebox.invalid")
    budget = event(alert)["budget"]
    lines = [f"{name.replace('_', ' '):18} {value}" for name, value in budget.items()]
    message.set_content(f"{alert.title}\n\n" + "\n".join(lines) + "\n")
    return message
