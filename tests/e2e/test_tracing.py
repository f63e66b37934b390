"""Spans of calls, as a collector gets them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

from proxy.core.trace import span_id
from proxy.simulator import serve
from tests.e2e.conftest import Start
from tests.e2e.running import KEY, Running, bearer

CLIENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
Span = dict[str, Any]


class Collector:
    """An OTLP receiver that keeps what it gets."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._app = FastAPI()

        @self._app.post("/v1/traces")
        async def take(request: Request) -> Response:
            told = ExportTraceServiceRequest.FromString(await request.body())
            for resource in told.resource_spans:
                for scope in resource.scope_spans:
                    self.spans += map(_read, scope.spans)
            return Response(b"", media_type="application/x-protobuf")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        await self._app(scope, receive, send)

    def close(self) -> None:
        """Nothing is open."""

    def of(self, kind: int) -> list[Span]:
        """The spans of a kind: 2 are servers', 3 clients'."""
        return [span for span in self.spans if span["kind"] == kind]


def _read(span: Any) -> Span:
    values = {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}
    return {
        "trace": span.trace_id.hex(),
        "id": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "name": span.name,
        "kind": span.kind,
        "error": span.status.code == 2,
        "start_ns": span.start_time_unix_nano,
        "end_ns": span.end_time_unix_nano,
        **values,
    }


SERVER, CALLER = 2, 3


@asynccontextmanager
async def traced(start: Start, **settings: Any) -> AsyncIterator[tuple[Running, Collector]]:
    collector = Collector()
    async with (
        serve(collector) as url,
        start(tracing={"endpoint": url, **settings}) as run,
    ):
        yield run, collector


async def test_a_call_is_a_span_and_so_is_its_attempt(start: Start) -> None:
    """With what the row says, under the names of the conventions."""
    async with traced(start) as (run, collector):
        answer = await run.chat(max_tokens=50)
        row = await run.only_call()

    (call,), (attempt,) = collector.of(SERVER), collector.of(CALLER)
    call_id = answer.headers["x-farebox-call-id"]
    assert (call["trace"], call["parent"], call["id"]) == (call_id[3:], "", span_id(call_id))
    assert (attempt["trace"], attempt["parent"]) == (call["trace"], call["id"])
    assert attempt["name"] == "chat gpt-4o-mini"
    assert call["farebox.team"] == "search"
    assert (attempt["gen_ai.usage.input_tokens"], attempt["gen_ai.usage.output_tokens"]) == (
        row["input_tokens"],
        row["output_tokens"],
    )
    assert attempt["gen_ai.provider.name"] == "openai"
    assert attempt["gen_ai.response.model"] == row["model_served"]
    assert call["start_ns"] <= attempt["start_ns"] <= attempt["end_ns"] <= call["end_ns"]
    assert not call["error"]


async def test_every_name_is_one_of_the_conventions(start: Start) -> None:
    async with traced(start) as (run, collector):
        await run.chat(stream=True)
        await run.is_idle()

    known = {v for v in vars(gen_ai_attributes).values() if isinstance(v, str)}
    used = {name for span in collector.spans for name in span if name.startswith("gen_ai.")}
    assert "gen_ai.response.time_to_first_chunk" in used
    assert used <= known


@pytest.mark.parametrize("propagate", [True, False])
async def test_upstreams_see_the_trace_only_where_asked(start: Start, propagate: bool) -> None:
    """The client's trace goes on here in any case."""
    context = {"traceparent": CLIENT, "tracestate": "a=1", "baggage": "user=ada"}
    async with traced(start, propagate=propagate) as (run, collector):
        answer = await run.client.get("/v1/assistants", headers=bearer(KEY) | context)
        seen = dict(answer.json()["headers"])
        await run.is_idle()

    (call,) = collector.of(SERVER)
    assert (call["trace"], call["parent"]) == (CLIENT[3:35], CLIENT[36:52])
    child = f"00-{CLIENT[3:35]}-{span_id(answer.headers['x-farebox-call-id'], 1)}-01"
    wanted = {"traceparent": child, "tracestate": "a=1"} if propagate else {}
    assert {name: seen[name] for name in context if name in seen} == wanted


async def test_a_trace_that_the_client_does_not_keep_is_not_sent(start: Start) -> None:
    async with traced(start) as (run, collector):
        headers = bearer(KEY) | {"traceparent": CLIENT[:-2] + "00"}
        await run.client.get("/v1/assistants", headers=headers)
        await run.is_idle()

    assert collector.spans == []


async def test_a_collector_that_is_away_costs_no_call(start: Start) -> None:
    async with start(tracing={"endpoint": "http://127.0.0.1:9"}) as run:
        assert (await run.chat()).status_code == 200
