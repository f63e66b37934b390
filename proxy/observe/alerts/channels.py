"""The places that alerts go to: one sends, and says whether it was taken."""

import asyncio
import smtplib
import ssl
import time
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import orjson

from proxy.core.alerts import Alert
from proxy.observe.alerts import messages
from proxy.settings import ChannelSettings

_OK = range(200, 300)
_PORTS = {"smtp": 587, "smtps": 465}


class NotTaken(Exception):
    """A channel did not take an alert; the message says why, without any secret."""


class Channel(Protocol):
    """One place."""

    name: str

    def wants(self, alert: Alert) -> bool:
        """Whether the alert is for it."""

    async def send(self, alert: Alert) -> None:
        """Send it. Raises NotTaken."""


def open_channel(settings: ChannelSettings) -> Channel:
    """The channel of these settings."""
    if settings.kind == "email":
        return MailChannel(settings)
    return HttpChannel(settings)


class _Named:
    def __init__(self, settings: ChannelSettings) -> None:
        self.name = settings.name
        self._settings = settings

    def wants(self, alert: Alert) -> bool:
        """Every alert, or those of its teams."""
        return not self._settings.teams or alert.team in self._settings.teams


class HttpChannel(_Named):
    """A webhook, Slack or PagerDuty."""

    def __init__(self, settings: ChannelSettings, clock_s: Callable[[], float] = time.time) -> None:
        super().__init__(settings)
        self._clock_s = clock_s

    async def send(self, alert: Alert) -> None:
        """POST it; any status of 2xx means that it was taken. Redirects are not followed."""
        settings = self._settings
        body = orjson.dumps(self._document(alert))
        headers = {"content-type": "application/json", "x-farebox-delivery": alert.id}
        if settings.secret:
            headers[messages.SIGNATURE] = messages.signed(
                body, settings.secret, int(self._clock_s())
            )
        import httpx  # noqa: PLC0415 - megabytes, for those who are told of alerts this way

        try:
            async with httpx.AsyncClient(timeout=settings.timeout_s) as client:
                answer = await client.post(settings.address, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise NotTaken(f"{type(error).__name__}: no answer") from error
        if answer.status_code not in _OK:
            raise NotTaken(f"answered {answer.status_code}")

    def _document(self, alert: Alert) -> dict[str, Any]:
        if self._settings.kind == "slack":
            return messages.slack(alert)
        if self._settings.kind == "pagerduty":
            return messages.pagerduty(alert, self._settings.routing_key or "")
        return messages.event(alert)


class MailChannel(_Named):
    """Mail over SMTP: with STARTTLS wherever the server offers it, over TLS with smtps://."""

    async def send(self, alert: Alert) -> None:
        """Hand it to the server. A password is only shown to it over TLS."""
        try:
            await asyncio.to_thread(self._send, alert)
        except (smtplib.SMTPException, OSError) as error:
            raise NotTaken(f"{type(error).__name__}: the server did not take it") from error

    def _send(self, alert: Alert) -> None:
        settings = self._settings
        address = urlsplit(settings.smtp or "")
        host, port = address.hostname or "", address.port or _PORTS[address.scheme]
        context = ssl.create_default_context()
        if address.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                host, port, timeout=settings.timeout_s, context=context
            )
        else:
            server = smtplib.SMTP(host, port, timeout=settings.timeout_s)
        with server:
            secure = address.scheme == "smtps"
            server.ehlo()
            if not secure and server.has_extn("starttls"):
                server.starttls(context=context)
                server.ehlo()
                secure = True
            if address.username:
                if not secure:
                    raise smtplib.SMTPNotSupportedError("no TLS: the password is kept back")
                server.login(unquote(address.username), unquote(address.password or ""))
            server.send_message(messages.email(alert, settings.sender or "", settings.to))
