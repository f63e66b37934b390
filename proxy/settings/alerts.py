"""Who is told when a budget fills, and how."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from proxy.settings.budgets import Section
from proxy.settings.fields import (
    BaseUrl,
    Expected,
    Flag,
    MaybeSecret,
    Name,
    Seconds,
    Secret,
    Text,
)

Percent = Annotated[int, Field(gt=0, le=1000), Expected("percent of a limit", "80")]
ChannelKind = Literal["webhook", "slack", "pagerduty", "email"]
_PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"
_NEEDS = {
    "webhook": ("url",),
    "slack": ("url",),
    "pagerduty": ("routing_key",),
    "email": ("smtp", "sender", "to"),
}


class ChannelSettings(Section):
    """A place to send alerts to."""

    name: Name
    kind: ChannelKind
    teams: list[Name] = Field(default=[])  # only those of these teams' budgets; empty: all
    url: BaseUrl | None = Field(default=None, repr=False)
    secret: MaybeSecret = Field(default=None, repr=False)
    routing_key: Secret | None = Field(default=None, repr=False)
    smtp: Secret | None = Field(default=None, repr=False)
    sender: Text | None = None
    to: list[Text] = Field(default=[])
    timeout_s: Seconds = 10

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        for needed in _NEEDS[self.kind]:
            if not getattr(self, needed):
                raise ValueError(f"is a {self.kind}, which needs {needed}")
        if self.smtp and not self.smtp.startswith(("smtp://", "smtps://")):
            raise ValueError("smtp: write smtp://user:password@host:587, or smtps://host:465")
        return self

    @property
    def address(self) -> str:
        """Where a channel that takes HTTP is."""
        return self.url or _PAGERDUTY


class AlertSettings(Section):
    """When somebody is told, and where."""

    thresholds: list[Percent] = Field(default=[80, 100])
    forecast: Flag = True
    every_s: Seconds = 15
    channels: list[ChannelSettings] = Field(default=[])

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [channel.name for channel in self.channels]
        if len(names) != len(set(names)):
            raise ValueError("two channels have the same name; each needs its own")
        return self
