"""What each channel sends, and what it takes for an answer."""

import hashlib
import hmac
import json
import socket
from collections.abc import Iterator
from email import message_from_bytes
from email.policy import default
from typing import Any

import httpx
import pytest
import respx
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope, Session

from proxy.core.alerts import trial_alert
from proxy.observe.alerts import NotTaken, open_channel
from proxy.observe.alerts.channels import HttpChannel
from proxy.settings import ChannelSettings

NOW_US = 1_764_072_000_000_000
ALERT = trial_alert(NOW_US)
HOOK = "https://hooks.example.com/farebox"


def settings(kind: str, **fields: Any) -> ChannelSettings:
    return ChannelSettings.model_validate({"name": "ops", "kind": kind, **fields})


async def test_a_webhook_gets_the_event_signed(respx_mock: respx.MockRouter) -> None:
    """The receiver can tell who sent it and when: HMAC-SHA256 of "<t>.<body>"."""
    route = respx_mock.post(HOOK).respond(204)
    made = settings("webhook", url=HOOK, secret="whsec")
    await HttpChannel(made, clock_s=lambda: 1_764_072_001.5).send(ALERT)

    request = route.calls.last.request
    digest = hmac.new(b"whsec", b"1764072001." + request.content, hashlib.sha256).hexdigest()
    assert request.headers["x-farebox-signature"] == f"t=1764072001,v1={digest}"
    assert request.headers["x-farebox-delivery"] == ALERT.id
    body = json.loads(request.content)
    assert (body["event"], body["severity"], body["budget"]["limit_usd"]) == (
        "test",
        "info",
        "100.00",
    )


async def test_without_a_secret_nothing_is_signed(respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(HOOK).respond(200)
    await open_channel(settings("webhook", url=HOOK)).send(ALERT)

    assert "x-farebox-signature" not in route.calls.last.request.headers


async def test_slack_gets_text_and_blocks(respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(HOOK).respond(200, text="ok")
    await open_channel(settings("slack", url=HOOK)).send(ALERT)

    body = json.loads(route.calls.last.request.content)
    assert ALERT.title in body["text"]
    assert [f["text"] for f in body["blocks"][1]["fields"]] == [
        "*Limit*\n$100.00",
        "*Spent*\n$80.00",
        "*Held*\n$0.00",
        "*Left*\n$20.00",
    ]


async def test_pagerduty_gets_an_event_of_its_api(respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post("https://events.pagerduty.com/v2/enqueue").respond(202)
    await open_channel(settings("pagerduty", routing_key="R" * 32)).send(ALERT)

    body = json.loads(route.calls.last.request.content)
    assert (body["routing_key"], body["event_action"]) == ("R" * 32, "trigger")
    assert body["payload"]["severity"] == "info"
    assert body["payload"]["summary"] == ALERT.title


@pytest.mark.parametrize("status", [302, 400, 429, 500])
async def test_any_other_status_is_a_refusal(respx_mock: respx.MockRouter, status: int) -> None:
    """The message names no address and no key: they are secrets."""
    respx_mock.post(HOOK).respond(status, headers={"location": "http://elsewhere"})

    with pytest.raises(NotTaken, match=f"^answered {status}$"):
        await open_channel(settings("slack", url=HOOK)).send(ALERT)


async def test_no_answer_is_a_refusal(respx_mock: respx.MockRouter) -> None:
    respx_mock.post(HOOK).mock(side_effect=httpx.ReadTimeout)

    with pytest.raises(NotTaken, match=r"^ReadTimeout: no answer$"):
        await open_channel(settings("slack", url=HOOK)).send(ALERT)


class Mailbox:
    """What a mail server took."""

    def __init__(self) -> None:
        self.taken: list[Envelope] = []

    async def handle_DATA(self, server: object, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Take a mail, unless its recipient is unknown."""
        del server, session
        if "nobody@example.com" in envelope.rcpt_tos:
            return "550 unknown"
        self.taken.append(envelope)
        return "250 OK"


@pytest.fixture(name="mail")
def _mail() -> Iterator[tuple[Mailbox, str]]:
    """A mail server on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box, f"127.0.0.1:{port}"
    controller.stop()


async def test_mail_says_it_in_plain_text(mail: tuple[Mailbox, str]) -> None:
    box, address = mail
    to = ["ops@example.com", "finance@example.com"]
    made = settings("email", smtp=f"smtp://{address}", sender="farebox@example.com", to=to)
    await open_channel(made).send(ALERT)

    (envelope,) = box.taken
    assert isinstance(envelope.content, bytes)
    message = message_from_bytes(envelope.content, policy=default)
    assert envelope.rcpt_tos == to
    assert message["subject"] == f"[Farebox] {ALERT.title}"
    body = message.get_body()
    assert body is not None
    assert "spent usd          80.00" in body.get_content()


async def test_a_mail_that_is_refused_is_not_taken(mail: tuple[Mailbox, str]) -> None:
    made = settings(
        "email", smtp=f"smtp://{mail[1]}", sender="a@example.com", to=["nobody@example.com"]
    )
    with pytest.raises(NotTaken, match="SMTPDataError"):
        await open_channel(made).send(ALERT)


async def test_a_password_is_kept_back_where_there_is_no_tls(mail: tuple[Mailbox, str]) -> None:
    made = settings(
        "email", smtp=f"smtp://me:secret@{mail[1]}", sender="a@example.com", to=["b@example.com"]
    )
    with pytest.raises(NotTaken, match="SMTPNotSupportedError"):
        await open_channel(made).send(ALERT)
    assert mail[0].taken == []


def test_a_channel_may_want_only_some_teams() -> None:
    mine = open_channel(settings("slack", url=HOOK, teams=["example"]))
    other = open_channel(settings("slack", url=HOOK, teams=["search"]))

    assert (mine.wants(ALERT), other.wants(ALERT)) == (True, False)
