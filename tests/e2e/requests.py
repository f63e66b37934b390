"""A good request, to be made bad, and what must hold after whatever was sent."""

from tests.e2e.running import KEY, Running

JSON = ("content-type", "application/json")
WITH_KEY = [("authorization", f"Bearer {KEY}"), JSON]
MESSAGES = '"messages":[{"role":"user","content":"Hello"}]'
GOOD = f'{{"model":"gpt-4o-mini",{MESSAGES}}}'.encode()


def chat(more: str, model: str = '"gpt-4o-mini"') -> bytes:
    """A chat completion with more members."""
    return f'{{"model":{model},{MESSAGES}{more}}}'.encode()


async def assert_still_serves(run: Running) -> None:
    """Whatever was sent before, the next call is answered."""
    answer = await run.chat()
    assert answer.status_code == 200, answer.text
