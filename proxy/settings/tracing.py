"""Where spans go, and whether upstreams get to see the trace."""

from typing import Annotated

from pydantic import Field

from proxy.settings.budgets import Section
from proxy.settings.fields import BaseUrl, Expected, Flag, HeaderName, HeaderValue, Name

Share = Annotated[float, Field(ge=0, le=1), Expected("a share from 0 to 1", "0.1")]


class TracingSettings(Section):
    """OpenTelemetry: a span for each call and each attempt, sent by OTLP over HTTP."""

    endpoint: BaseUrl | None = None
    headers: dict[HeaderName, HeaderValue] = Field(default={}, repr=False)
    service_name: Name = "farebox"
    sample: Share = 1.0
    propagate: Flag = False
