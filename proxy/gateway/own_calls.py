"""GET /farebox/v1/calls/{id}: a key's own call, also after a stream."""

import orjson

from proxy.core.errors import LedgerError, LedgerUnavailable, NotFound
from proxy.core.present import call_row
from proxy.gateway import answers
from proxy.gateway.active import ActiveCall
from proxy.gateway.authenticate import authenticate
from proxy.gateway.inbound import Send
from proxy.gateway.pipeline import Pipeline
from proxy.gateway.ports import Keys, Ledger

_PREFIX = b"/farebox/v1/calls/"


class OwnCalls:
    """Shows a call to the key that made it, and to nobody else."""

    def __init__(self, pipeline: Pipeline, keys: Keys, ledger: Ledger) -> None:
        self._pipeline = pipeline
        self._keys = keys
        self._ledger = ledger

    async def answer(self, call: ActiveCall, send: Send) -> None:
        """The call's row as JSON. Raises InvalidApiKey, NotFound, LedgerUnavailable."""
        wanted = call.inbound.path[len(_PREFIX) :].decode("latin-1")
        try:
            key, _ = await authenticate(call.inbound, self._keys, call.started_at_us)
            await self._pipeline.settled()
            record = await self._ledger.call(wanted)
        except LedgerError as error:
            raise LedgerUnavailable(
                "Farebox can't reach its ledger. Try again in a moment."
            ) from error
        if record is None or record.key_id != key.id:
            raise NotFound(f"This key made no call {wanted!r} that is over.")
        call.answering = True
        await answers.answer_json(send, 200, orjson.dumps(call_row(record)))
