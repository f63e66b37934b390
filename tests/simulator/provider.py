"""A running simulator, as tests see it."""

import asyncio
import json
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx

from proxy.simulator import InvoiceLine, Simulator


class Provider:
    """A running simulator."""

    def __init__(self, app: Simulator, address: str, client: httpx.AsyncClient) -> None:
        self.app = app
        self.address = address
        self.client = client
        self.host, self.port = address.removeprefix("http://").split(":")

    async def chat(self, prompt: str = "Hello", **fields: Any) -> httpx.Response:
        """A chat completion of one message."""
        return await self.client.post("/v1/chat/completions", json=chat_body(prompt, **fields))

    def streamed(
        self, prompt: str = "Hello", **fields: Any
    ) -> AbstractAsyncContextManager[httpx.Response]:
        """A streamed chat completion, as httpx's context manager."""
        body = chat_body(prompt, stream=True, **fields)
        return self.client.stream("POST", "/v1/chat/completions", json=body)

    @property
    def line(self) -> InvoiceLine:
        """The only line of the invoice."""
        (line,) = self.app.invoice.lines
        return line

    async def billed(self, lines: int = 1) -> list[InvoiceLine]:
        """The invoice, once it has so many lines."""
        async with asyncio.timeout(5):
            return list(await self.app.invoice.until(lines))


def chat_body(prompt: str = "Hello", **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}], **fields}


def events(text: str) -> list[Any]:
    """The JSON of each event of a stream but the last, which has to be the mark of the end."""
    *data, done, rest = text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in data]


def content(chunks: list[Any], choice: int = 0) -> str:
    """The text of one choice of a stream."""
    deltas = [c["delta"] for chunk in chunks for c in chunk["choices"] if c["index"] == choice]
    return "".join(delta.get("content") or "" for delta in deltas)
