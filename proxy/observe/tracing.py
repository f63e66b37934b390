"""Spans of OpenTelemetry, made when a call is over: one for the call, one for each attempt.

Attributes have the names of the GenAI semantic conventions; what those have no name for is under
``farebox.``. No prompt and no answer is in a span. Failing is open: a collector that is away costs
spans, never a call; the exporter's own thread sends them, and drops what does not fit its queue.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from proxy.core.call import AttemptRecord, CallFinished, CallRecord
from proxy.core.errors import ConfigurationError
from proxy.core.money import NANO_PER_USD
from proxy.core.trace import Trace, span_id, trace_of
from proxy.core.usage import UsageSource
from proxy.settings import TracingSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

_FIRST_ERROR = 400
_FIRST_SERVER_ERROR = 500
_OPERATIONS = {
    "chat.completions": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
    "generate_content": "generate_content",
    "responses": "chat",
    "messages": "chat",
}
# The conventions' names of providers, by the price book's.
_PROVIDERS = {
    "aws": "aws.bedrock",
    "azure": "azure.ai.openai",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "x-ai": "x_ai",
}

Attributes = dict[str, str | int | float | bool]


class Place(NamedTuple):
    """Where an upstream is: the price book's name of its provider, and its host."""

    provider: str
    host: str


class Tracing:
    """Makes spans of calls. ``places`` tells of an upstream by its name."""

    def __init__(
        self, settings: TracingSettings, exporter: "SpanExporter", places: Callable[[str], Place]
    ) -> None:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra, and slow
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - see above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - see above
        from opentelemetry.sdk.trace.sampling import (  # noqa: PLC0415 - see above
            ParentBased,
            TraceIdRatioBased,
        )

        self._ids = _ids()
        self._places = places
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": settings.service_name}),
            sampler=ParentBased(TraceIdRatioBased(settings.sample)),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("farebox")

    def call_finished(self, event: CallFinished) -> None:
        """Hand over the spans of a call. Never raises, never waits."""
        from opentelemetry import trace as api  # noqa: PLC0415 - see above

        record = event.record
        trace = trace_of(record.id, event.traceparent)
        parent = _context(trace) if trace.parent_id else None
        self._ids.next = (int(trace.trace_id, 16), int(span_id(record.id), 16))
        span = self._tracer.start_span(
            f"{_operation(record)} {record.model_requested}".strip(),
            context=parent,
            kind=api.SpanKind.SERVER,
            attributes=_call_attributes(record),
            start_time=record.started_at_us * 1000,
        )
        if record.status >= _FIRST_SERVER_ERROR:
            span.set_status(api.StatusCode.ERROR)
        within = api.set_span_in_context(span)
        for attempt in record.attempts:
            self._attempt(record, attempt, within)
        span.end((record.started_at_us + record.duration_us) * 1000)

    def close(self) -> None:
        """Send what waits, and stop."""
        self._provider.shutdown()

    def _attempt(self, record: CallRecord, attempt: AttemptRecord, within: Any) -> None:
        from opentelemetry import trace as api  # noqa: PLC0415 - see above

        self._ids.next = (0, int(span_id(record.id, attempt.number), 16))
        span = self._tracer.start_span(
            f"{_operation(record)} {attempt.model}".strip(),
            context=within,
            kind=api.SpanKind.CLIENT,
            attributes=self._attempt_attributes(record, attempt),
            start_time=attempt.started_at_us * 1000,
        )
        if attempt.error or (attempt.status or 0) >= _FIRST_ERROR:
            span.set_status(api.StatusCode.ERROR)
        span.end((attempt.started_at_us + attempt.duration_us) * 1000)

    def _attempt_attributes(self, record: CallRecord, attempt: AttemptRecord) -> Attributes:
        place = self._places(attempt.upstream)
        provider = _PROVIDERS.get(place.provider, place.provider)
        found: Attributes = {
            "gen_ai.operation.name": _operation(record),
            "gen_ai.provider.name": provider or attempt.upstream,
            "gen_ai.request.model": attempt.model,
            "gen_ai.request.stream": record.stream,
            "server.address": place.host,
            "farebox.upstream": attempt.upstream,
            "farebox.attempt": attempt.number,
        }
        found |= _usage(attempt)
        optional: dict[str, str | int | float | None] = {
            "gen_ai.response.model": attempt.model_served,
            "gen_ai.response.id": attempt.upstream_call_id,
            "gen_ai.request.max_tokens": record.output_cap,
            "http.response.status_code": attempt.status,
            "error.type": attempt.error or _error_type(attempt.status),
        }
        if record.stream and attempt.first_byte_us is not None:
            optional["gen_ai.response.time_to_first_chunk"] = attempt.first_byte_us / 1_000_000
        return found | {name: value for name, value in optional.items() if value}


def open_tracing(settings: TracingSettings, places: Callable[[str], Place]) -> Tracing | None:
    """Tracing as configured; None where it is not. Raises ConfigurationError without its extra."""
    if settings.endpoint is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - an extra
            OTLPSpanExporter,
        )
    except ImportError as error:
        raise ConfigurationError(
            "tracing.endpoint: tracing needs OpenTelemetry; install farebox[otel]"
        ) from error
    exporter = OTLPSpanExporter(
        endpoint=settings.endpoint.rstrip("/") + "/v1/traces", headers=dict(settings.headers)
    )
    return Tracing(settings, exporter, places)


def _call_attributes(record: CallRecord) -> Attributes:
    found: Attributes = {
        "gen_ai.operation.name": _operation(record),
        "http.request.method": "POST",
        "http.response.status_code": record.status,
        "farebox.call.id": record.id,
        "farebox.team": record.team,
        "farebox.key": record.key,
        "farebox.endpoint": record.endpoint,
        "farebox.outcome": str(record.outcome),
        "farebox.cost.usd": record.cost_nano / NANO_PER_USD,  # for eyes; the ledger has it exactly
        "farebox.overhead_ms": record.overhead_us / 1000,
    }
    optional = {
        "gen_ai.request.model": record.model_requested,
        "gen_ai.workflow.name": record.workflow,
        "farebox.run": record.run,
        "farebox.organisation": record.organisation,
        "enduser.id": record.user,
        "error.type": record.refusal or _error_type(record.status),
    }
    found |= {name: value for name, value in optional.items() if value}
    return found | {f"farebox.tag.{name}": value for name, value in record.tags}


def _usage(attempt: AttemptRecord) -> Attributes:
    if attempt.usage_source is UsageSource.NONE:
        return {}
    usage = attempt.usage
    return {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning,
        "farebox.usage.source": str(attempt.usage_source),
        "farebox.cost.usd": attempt.cost_nano / NANO_PER_USD,
    }


def _operation(record: CallRecord) -> str:
    return _OPERATIONS.get(record.endpoint, record.endpoint)


def _error_type(status: int | None) -> str:
    return str(status) if status is not None and status >= _FIRST_ERROR else ""


def _context(trace: Trace) -> Any:
    from opentelemetry import trace as api  # noqa: PLC0415 - see above

    flags = api.TraceFlags(api.TraceFlags.SAMPLED if trace.sampled else api.TraceFlags.DEFAULT)
    parent = api.SpanContext(int(trace.trace_id, 16), int(trace.parent_id, 16), True, flags)
    return api.set_span_in_context(api.NonRecordingSpan(parent))


def _ids() -> Any:
    from opentelemetry.sdk.trace.id_generator import IdGenerator  # noqa: PLC0415 - see above

    class Known(IdGenerator):
        """Gives the ids that were set before the span was started."""

        next = (1, 1)

        def generate_trace_id(self) -> int:
            return self.next[0]

        def generate_span_id(self) -> int:
            return self.next[1]

    return Known()
