"""The books of one session: what is held for it, which parts are under way, and what they used.

Before a response can be made there is a hold for it, also for one that the provider begins by itself
when somebody stops talking. So one is held in advance, and the next one is asked for as soon as a
response has begun; until it is there, nothing the client sends goes on.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, Final

from msgspec.structs import replace

from proxy.core import estimate
from proxy.core.call import Outcome
from proxy.core.errors import BudgetExceeded, Refusal
from proxy.core.usage import EMPTY, Usage
from proxy.gateway.active import ActiveCall
from proxy.gateway.dialects import realtime
from proxy.gateway.dialects.base import RequestFacts
from proxy.gateway.dialects.realtime import ClientEvent, ServerEvent
from proxy.gateway.dialects.usage import Json
from proxy.gateway.paths import Way
from proxy.gateway.pipeline import Pipeline
from proxy.gateway.realtime.advance import Advance
from proxy.gateway.realtime.part import Part, heard
from proxy.gateway.realtime.place import Bound, Place, response_bound, transcription_bound
from proxy.gateway.router import check_allowed

RESPONSE: Final = Way(realtime.DIALECT, True, "realtime", 0)
TRANSCRIPTION: Final = RESPONSE._replace(endpoint="realtime.transcription")
SESSION: Final = RESPONSE._replace(endpoint="realtime.session")
_SWITCHED: Final = 101
_BYTES_PER_TOKEN: Final = 4  # of text, on average


class Books:
    """Holds, parts and rows of a session."""

    def __init__(self, pipeline: Pipeline, first: ActiveCall, places: tuple[Place, ...]) -> None:
        """``first`` opened the session, and is its first row."""
        self.places = places
        self.refusal: Refusal | None = None
        self.refused = asyncio.Event()
        self.quiet = asyncio.Event()  # nothing is under way
        self.quiet.set()
        self._pipeline = pipeline
        self._first = first
        self._begun = first.started
        if not first.principal.run:
            first.principal = replace(first.principal, run=first.id)
        self._first_taken = False
        self._served = ""
        self._transcriber = ""
        self._responses = self._advance(first.facts.model) if first.facts.model else None
        self._transcripts: Advance | None = None
        self._beside = 0  # responses that the client asked for beside the conversation's
        self._open: dict[str, Part] = {}
        self._context = EMPTY  # what the next response has to read, as far as we know
        self._holding = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    # Before anything is sent

    async def open(self) -> None:
        """Hold the first response's money. Raises what its refusal is."""
        await self.hold()
        if self.refusal is not None:
            raise self.refusal

    async def admit(self, event: ClientEvent, size: int) -> bool:
        """Whether a client's frame may go on: there is money for whatever it makes the provider do."""
        if event.transcribe is not None:
            self._transcribe(event.transcribe)
        self._beside += event.beside
        await self.hold()
        if self.refusal is not None:
            return False
        if event.kind == realtime.AUDIO:
            self._context += Usage(audio_input=heard(size))
        else:
            self._context += Usage(input=size // _BYTES_PER_TOKEN)
        return True

    async def hold(self) -> None:
        """Hold what may begin next. Where a budget refuses, the session is to end."""
        async with self._holding:
            if self.refusal is not None:
                return
            try:
                if self._responses is not None:
                    await self._responses.have(1 + self._beside, self._busy)
                if (transcripts := self._transcripts) is not None:
                    await transcripts.have(1, self._busy)
                    if transcripts is not self._transcripts:  # another model since
                        transcripts.return_all()
            except Refusal as refusal:
                self._refuse(refusal)

    # What the upstream says

    async def hear(self, event: ServerEvent) -> None:
        """Take an event of the upstream."""
        kind = event.type
        if kind in realtime.TEXT_DELTAS or kind in realtime.AUDIO_DELTAS:
            self._note_piece(event)
        elif kind == "response.created":
            await self._begin_response(realtime.part_of(event.response))
        elif kind == "response.done":
            await self._end_response(realtime.part_of(event.response))
        elif kind == "input_audio_buffer.committed":
            await self._begin_transcription(event.item_id)
        elif kind in {realtime.TRANSCRIBED, realtime.NOT_TRANSCRIBED}:
            await self._end_transcription(event)
        elif kind in realtime.SESSIONS:
            self._note_session(realtime.part_of(event.session))
        elif kind == "error":
            self._beside = max(self._beside - 1, 0)

    def under_way(self) -> Iterator[str]:
        """The ids of responses that were not seen to their end."""
        return (id_ for id_, part in self._open.items() if part.call.way is not TRANSCRIPTION)

    def unheld(self) -> Iterator[str]:
        """The ids of responses that the provider began though nothing was held for them."""
        return (id_ for id_ in self.under_way() if self._open[id_].call.hold is None)

    # Its end

    def close(self, outcome: Outcome, error: str) -> None:
        """Settle everything: what is under way as far as it came, what did not begin as nothing."""
        for task in self._tasks:
            task.cancel()
        for id_, part in list(self._open.items()):
            part.broke_off(outcome, error, self._known_context())
            self._settle(id_, part)
        session = self._responses.take() if self._responses is not None else None
        if session is None:
            session = self._call("" if self._first_taken else None)
        self._settle_unused(session, SESSION)
        for advance in filter(None, (self._responses, self._transcripts)):
            advance.return_all()

    # Responses

    async def _begin_response(self, response: Json) -> Part | None:
        id_ = response.get("id")
        if self._responses is None or type(id_) is not str:
            return None
        if not len(self._responses):
            await self.hold()  # perhaps the last one's was given back just now
        call = self._responses.take()
        if call is None:
            call = self._call(self._first.facts.model)
            self._refuse(BudgetExceeded("The provider began a response that no budget holds."))
        if response.get("conversation_id", "") is None:
            self._beside = max(self._beside - 1, 0)
        part = self._begin(id_, call)
        self._spawn(self.hold())
        return part

    async def _end_response(self, response: Json) -> None:
        id_ = response.get("id")
        part = self._open.get(id_) if type(id_) is str else None
        part = part or await self._begin_response(response)
        if part is None:
            return
        realtime.note_response(part.scan, response)
        usage = part.scan.usage
        if usage is None and not part.scan.error:
            part.count(self._known_context())
        elif usage is not None and usage != EMPTY:
            self._context = _remembered(usage)
        if part.scan.error:
            part.outcome = Outcome.UPSTREAM_FAILED
        self._settle(str(id_), part)
        self._spawn(self.hold())

    def _note_piece(self, event: ServerEvent) -> None:
        id_ = event.response_id
        part = self._open.get(id_) if type(id_) is str else None
        if part is None:
            return
        if event.type in realtime.AUDIO_DELTAS:
            part.sounds(len(bytes(event.delta)))
        else:
            part.says(realtime.text_of(event.delta))

    # Transcriptions

    def _transcribe(self, model: str) -> None:
        """From now on this model transcribes what is said; "": none does."""
        if model == self._transcriber:
            return
        team, key = self._first.principal.key.team, self._first.principal.key
        if model:
            try:
                check_allowed(model, team.name, team.models, key.models)
            except Refusal as refusal:
                self._refuse(refusal)
                return
        if self._transcripts is not None:
            self._transcripts.return_all()
        self._transcriber = model
        self._transcripts = self._advance(model, TRANSCRIPTION) if model else None

    async def _begin_transcription(self, item: object) -> Part | None:
        if self._transcripts is None or type(item) is not str:
            return None
        if not len(self._transcripts):
            await self.hold()
        call = self._transcripts.take()
        if call is None:
            call = self._call(self._transcriber, TRANSCRIPTION)
            self._refuse(BudgetExceeded("The provider transcribed what no budget holds."))
        part = self._begin(item, call)
        self._spawn(self.hold())
        return part

    async def _end_transcription(self, event: ServerEvent) -> None:
        item = event.item_id
        part = self._open.get(item) if type(item) is str else None
        part = part or await self._begin_transcription(item)
        if part is None:
            return
        if event.type == realtime.NOT_TRANSCRIBED:
            part.scan.finished, part.scan.error = True, "failed"
            part.outcome = Outcome.UPSTREAM_FAILED
        else:
            realtime.note_transcription(part.scan, realtime.part_of(event.usage))
            if part.scan.usage is None:
                part.says(event.transcript if type(event.transcript) is str else "")
                part.count(Usage(audio_input=self._known_context().audio_input))
        self._settle(item, part)
        self._spawn(self.hold())

    # Parts and their rows

    def _begin(self, id_: str, call: ActiveCall) -> Part:
        place = self.places[0]
        model, served = place.target.model, self._served
        if call.way is TRANSCRIPTION:
            model = served = call.facts.model
        part = Part(call, place.upstream, model, served, self._pipeline.meter)
        part.scan.upstream_call_id = id_
        self._open[id_] = part
        self.quiet.clear()
        return part

    def _settle(self, id_: str, part: Part) -> None:
        self._open.pop(id_, None)
        if not self._open:
            self.quiet.set()
        self._pipeline.settle(part.call, part.outcome, part)

    def _settle_unused(self, call: ActiveCall, way: Way) -> None:
        call.way, call.status = way, _SWITCHED
        if way is SESSION:
            call.started = self._begun
        self._pipeline.settle(call, Outcome.COMPLETED)

    def _advance(self, model: str, way: Way = RESPONSE) -> Advance:
        config = self._first.config

        def bound(at_us: int) -> Bound:
            if way is RESPONSE:
                return response_bound(config, self.places, at_us)
            return transcription_bound(config, self.places, model, at_us)

        def begin() -> ActiveCall:
            return self._call(model if self._first_taken or way is not RESPONSE else None, way)

        def give_back(call: ActiveCall) -> None:
            self._settle_unused(call, call.way)

        ledger, patience_s = self._pipeline.ports.ledger, config.defaults.hold_wait_s
        return Advance(ledger, begin, bound, give_back, patience_s)

    def _call(self, model: str | None, way: Way = RESPONSE) -> ActiveCall:
        """A further row of the session; the first one itself where ``model`` is None."""
        first = self._first
        if model is None:
            self._first_taken = True
            first.way = first.way._replace(endpoint=way.endpoint)
            return first
        call = ActiveCall(first.config, first.inbound, way)
        call.principal, call.plan = first.principal, first.plan
        call.facts = RequestFacts(model or first.facts.model, stream=True)
        return call

    # What is known

    def _note_session(self, session: Json) -> None:
        if type(model := session.get("model")) is str:
            self._served = model
        transcriber = realtime.transcriber(session)
        if transcriber is not None and transcriber != self._transcriber:
            self._transcribe(transcriber)
            self._spawn(self.hold())

    def _known_context(self) -> Usage:
        most = estimate.realtime_context(self.places[0].target.model)
        known = self._context
        return replace(
            known, input=min(known.input, most), audio_input=min(known.audio_input, most)
        )

    def _busy(self) -> bool:
        return bool(self._open)

    def _refuse(self, refusal: Refusal) -> None:
        if self.refusal is None:
            self.refusal = refusal
            self.refused.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _remembered(usage: Usage) -> Usage:
    """What a response read and said: the next one reads all of it again."""
    return Usage(
        input=usage.input + usage.cached_input + usage.output + usage.reasoning,
        audio_input=usage.audio_input + usage.cached_audio_input + usage.audio_output,
        image_input=usage.image_input + usage.cached_image_input,
    )
