"""The calls: what is asked, how the provider is told to behave, and when the client loses patience."""

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import openai

from bench.soak.config import KEYS
from bench.soak.machines import Replica
from bench.soak.plan import Plan
from bench.soak.raw import RawClient

USERS = 20
_TEAMS = (*["steady"] * 5, *["tight"] * 4, "shrunk")
_PATIENCE_S = 30.0
_PAUSES_S = {"no connection": 1.0, "503 ledger_unavailable": 0.4}  # before the next call
_WORDS = ("water", "river", "morning", "light", "garden", "letter", "window", "paper", "bridge")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of call. ``weight`` says how often it is made, beside the others."""

    name: str
    weight: int = 1
    sim: str = ""  # the simulator's controls
    stream: bool = False
    leaves: str = ""  # before | within | at_once | half
    expects: frozenset[int] = frozenset((200,))  # statuses that the controls ask for
    breaks: bool = False  # the connection may end in the middle of the answer
    body: tuple[tuple[str, Any], ...] = ()  # further fields
    path: str = "/chat/completions"


def _statuses(*statuses: int) -> frozenset[int]:
    return frozenset(statuses)


_FAILS = _statuses(502, 504)
_TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
KINDS = (
    Kind("json", 40),
    Kind("stream", 40, stream=True),
    Kind("stream, usage asked", 16, stream=True, body=(("stream_options", {"include_usage": True}),)),
    Kind("stream at a pace", 8, "event_ms=4", stream=True),
    Kind("two choices", 2, body=(("n", 2),)),
    Kind("tools", 2, "tool_calls=1", stream=True, body=(("tools", [_TOOL]),)),
    Kind("reasoning", 2, "reasoning_tokens=30", body=(("model", "gpt-5-mini"),)),
    Kind("cached prompt", 2, "cached_tokens=20"),
    Kind("two upstreams", 4, body=(("model", "fast"),)),
    Kind("passed through", 1, path="/models"),
    # The client leaves...
    Kind("leaves before a stream", 4, "first_byte_ms=300, event_ms=3", stream=True, leaves="before"),
    Kind("leaves before an answer", 3, "first_byte_ms=300", leaves="before"),
    Kind("leaves within a stream", 5, "event_ms=8, output_tokens=80", stream=True, leaves="within"),
    Kind("leaves a drained stream", 3, "event_ms=8", True, "within", body=(("model", "drained"),)),
    Kind("leaves at once", 3, leaves="at_once"),
    Kind("leaves at once, stream", 3, "event_ms=3", stream=True, leaves="at_once"),
    Kind("leaves within the request", 2, leaves="half"),
    # The provider fails...
    Kind("dies before the answer", 3, "die_before_answer", expects=_FAILS),
    Kind("dies, two upstreams", 2, "die_before_answer", expects=_FAILS, body=(("model", "fast"),)),
    Kind("resets a stream", 3, "die_after_events=5", stream=True, breaks=True),
    Kind("closes a stream", 2, "die_after_events=4, die=close", stream=True, breaks=True),
    Kind("dies within an answer", 2, "die_after_events=1", expects=_FAILS | {200}, breaks=True),
    Kind("stalls and goes on", 3, "stall_after_events=4, stall_ms=500", stream=True),
    Kind("stalls for ever", 2, "stall_after_events=4", stream=True, breaks=True),
    Kind("answers too late", 2, "first_byte_ms=8000", expects=_FAILS),
    Kind("streams too late", 2, "first_byte_ms=8000", stream=True, expects=_FAILS),
    Kind("too late, two upstreams", 3, "first_byte_ms=8000", expects=_FAILS, body=(("model", "fast"),)),
    *(Kind(f"status {n}", 1, f"status={n}", expects=_statuses(n)) for n in (400, 401, 429, 500, 502)),
    Kind("status 503, two upstreams", 2, "status=503", expects=_statuses(503), body=(("model", "fast"),)),
    *(
        Kind(f"malformed: {how}", 1, f"malformed={how}", stream=True, breaks=True)
        for how in ("bad_json", "half_utf8", "no_done", "error", "truncated", "crlf", "comments")
    ),
    Kind("malformed answer", 1, "malformed=bad_json", breaks=True),
    Kind("no usage", 2, "no_usage", stream=True),
    Kind("no usage, not streamed", 1, "no_usage"),
    Kind("usage of zero", 1, "usage_zero=all", stream=True),
    Kind("cut in odd places", 2, "split=char", stream=True),
)  # fmt: skip


@dataclass(slots=True)
class Tally:
    """What the clients saw."""

    calls: Counter[str] = field(default_factory=Counter)  # by kind
    answers: Counter[str] = field(default_factory=Counter)  # by status, or what else came
    unexpected: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    kinds: dict[str, str] = field(default_factory=dict)  # by tag


class Client:
    """Makes one call after the other, on whichever replica."""

    def __init__(
        self,
        plan: Plan,
        replicas: Sequence[Replica],
        tally: Tally,
        number: int,
        kinds: Sequence[Kind] = KINDS,
        *,
        teams: Sequence[str] = _TEAMS,
    ) -> None:
        self._plan = plan
        self._replicas = replicas
        self._tally = tally
        self._kinds = kinds
        self._teams = teams
        self._dice = random.Random(f"{plan.seed}-{number}")
        self._serials = itertools.count()
        self._name = f"{plan.seed:x}.{number}"
        self._sdks: dict[tuple[str, str], openai.AsyncOpenAI] = {}
        self._raw = RawClient()

    async def work(self, stop: asyncio.Event) -> None:
        """Call until told to stop."""
        weights = [kind.weight for kind in self._kinds]
        try:
            while not stop.is_set():
                (kind,) = self._dice.choices(self._kinds, weights)
                saw = await self._call(kind)
                pause_s = _PAUSES_S.get(saw, self._plan.pause_s)
                await asyncio.sleep(self._dice.expovariate(1 / pause_s))
        finally:
            for sdk in self._sdks.values():
                await sdk.close()
            self._raw.close()

    async def _call(self, kind: Kind) -> str:
        dice = self._dice
        replica, team = dice.choice(self._replicas), dice.choice(self._teams)
        tag = f"{self._name}.{next(self._serials)}"
        headers = {"x-farebox-run": tag, "x-farebox-user": f"user-{dice.randrange(USERS)}"}
        body = self._body(kind, tag)
        by_sdk = not kind.leaves and kind.path != "/models" and dice.choice((True, False))
        self._tally.calls[kind.name] += 1
        self._tally.kinds[tag] = kind.name
        down, disturbed, began = replica.is_down, replica.disturbed, time.monotonic()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                if by_sdk:
                    saw = await self._ask_sdk(replica, team, kind, headers, body)
                else:
                    leave_after = dice.uniform(0.01, 0.2) if kind.leaves else 0.0
                    saw = await self._raw.ask(
                        replica.place.port, kind, KEYS[team], headers, body, leave_after
                    )
        except TimeoutError:
            saw = "no end"
        hurt = down or replica.is_down or replica.disturbed != disturbed
        self._note(kind, saw, hurt=hurt, took_s=time.monotonic() - began, tag=tag)
        return saw

    def _body(self, kind: Kind, tag: str) -> dict[str, Any]:
        dice = self._dice
        marker = f" [[sim: {kind.sim}]]" if kind.sim else ""
        words = dice.choices(_WORDS, k=dice.choice((50, 100, 200, 800)))
        prompt = " ".join(words) + marker
        cap = dice.randrange(60, 160)
        if "output_tokens" not in kind.sim:
            prompt += f" [[sim: output_tokens={dice.randrange(5, cap)}]]"
        body: dict[str, Any] = {
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": prompt}],
            "max_completion_tokens": cap,
            "user": tag,
        }
        if kind.stream:
            body["stream"] = True
        return body | dict(kind.body)

    async def _ask_sdk(
        self, replica: Replica, team: str, kind: Kind, headers: dict[str, str], body: dict[str, Any]
    ) -> str:
        key = (replica.url, team)
        if key not in self._sdks:
            self._sdks[key] = openai.AsyncOpenAI(
                base_url=f"{replica.url}/v1", api_key=KEYS[team], max_retries=0, timeout=_PATIENCE_S
            )
        sdk = self._sdks[key]
        try:
            answer = await sdk.chat.completions.create(**body, extra_headers=headers)
            if kind.stream:
                async for _ in answer:
                    pass
        except openai.APIStatusError as error:
            return _named(error.status_code, error.code)
        except openai.APIConnectionError:
            return "no connection"
        except openai.APIError:
            return "error in the answer"
        except (json.JSONDecodeError, UnicodeDecodeError, ValueError):
            return "nonsense"
        except Exception as error:  # noqa: BLE001 - httpx's own, that the SDK lets through while it streams
            return f"broken ({type(error).__name__})"
        return "200"

    def _note(self, kind: Kind, saw: str, *, hurt: bool, took_s: float, tag: str) -> None:
        tally = self._tally
        tally.answers[saw] += 1
        tally.slowest_s = max(tally.slowest_s, took_s)
        if not _is_expected(kind, saw, hurt=hurt):
            tally.unexpected.append(f"{tag} {kind.name}: {saw}")


def _is_expected(kind: Kind, saw: str, *, hurt: bool) -> bool:
    if saw in {"left", "429 budget_exceeded", "503 ledger_unavailable"}:
        return True
    if saw[:3].isdigit():
        # One that was frozen finds the late answer there when it comes back.
        return int(saw[:3]) in kind.expects or (hurt and saw == "200")
    return hurt or (kind.breaks and saw != "no end")


def _named(status: int, code: str | None) -> str:
    return f"{status} {code}" if code else str(status)
