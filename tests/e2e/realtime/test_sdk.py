"""OpenAI's SDK gets from Farebox what it gets from the provider."""

from typing import Any

import openai

from tests.e2e.realtime.conftest import Begin
from tests.e2e.realtime.provider import Provider
from tests.e2e.realtime.test_sessions import PRICE
from tests.e2e.running import SIMULATED


async def _talk(client: openai.AsyncOpenAI, kind: str) -> list[Any]:
    """What a client sees of one response, but for ids."""
    async with client.realtime.connect(model="gpt-realtime") as connection:
        await connection.session.update(session={"type": "realtime", "instructions": "Be brief."})
        await connection.response.create()
        seen = []
        async for event in connection:
            seen.append(event.model_dump(exclude={"event_id", "response_id"}))
            if event.type == kind:
                break
    return [_without_ids(event) for event in seen]


def _without_ids(event: dict[str, Any]) -> dict[str, Any]:
    response = event.get("response")
    return event | {"response": response | {"id": ""}} if response else event


async def test_a_session_of_the_sdk(begin: Begin) -> None:
    async with begin(Provider()) as both:
        direct = openai.AsyncOpenAI(base_url=f"{both.there}/v1", api_key=SIMULATED)
        expected = await _talk(direct, "response.done")

        seen = await _talk(both.run.sdk(), "response.done")

        assert expected == seen
        assert await both.clean() == PRICE
