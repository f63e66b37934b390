"""The configuration as it is once read: frozen, complete, every default filled in."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, Field, model_validator

from proxy.core.budgets import Budget
from proxy.core.call import Team
from proxy.settings.alerts import AlertSettings
from proxy.settings.budgets import (
    BudgetSettings,
    Covers,
    ScopedBudgetSettings,
    Section,
    Unbounded,
    core_budget,
)
from proxy.settings.fields import (
    PRESETS,
    BaseUrl,
    Bytes,
    Count,
    DatabaseUrl,
    Day,
    DialectName,
    Expected,
    Factor,
    Flag,
    Glob,
    HeaderName,
    HeaderValue,
    MaybeSecret,
    MaybeText,
    Name,
    OnOverCap,
    Places,
    Policy,
    Port,
    Price,
    Quantity,
    Seconds,
    Secret,
    Sha256,
    Text,
    Tokens,
    UpstreamName,
    Wait,
)
from proxy.settings.rates import Paced
from proxy.settings.suggest import did_you_mean
from proxy.settings.tracing import TracingSettings

# How Farebox itself runs...


class LedgerSettings(Section):
    """What the ledger does when its database is away, on power loss, and when a process dies."""

    unavailable: Policy = "reject"
    durability: Literal["normal", "full"] = "normal"
    lease_s: Seconds = 60
    hold_wait_s: Wait = 1
    answer_timeout_s: Seconds = 0.5
    lost: Literal["charge_estimate", "charge_hold", "release"] = "charge_estimate"
    spool_dir: MaybeText = None


class ServerSettings(Section):
    """Where Farebox listens. Port 0 takes a free one."""

    host: Name = "127.0.0.1"
    port: Port = 8080
    workers: Count = 1
    shutdown_grace_s: Wait = 30
    keep_alive_s: Seconds = 75
    head_timeout_s: Seconds = 30
    body_timeout_s: Seconds = 30


class LimitSettings(Section):
    """How large a request may be before it is refused."""

    max_body_bytes: Bytes = 32 * 2**20
    max_header_bytes: Bytes = 64 * 1024


class LoggingSettings(Section):
    """How the log looks."""

    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


class MetricsSettings(Section):
    """How much ``/metrics`` may show."""

    max_label_sets: Places = 1000


class Defaults(Section):
    """What holds where team, key and budget say nothing."""

    max_output_tokens: Tokens | None = None
    on_over_cap: OnOverCap = "clamp"
    unpriced: Policy = "reject"
    unbounded: Unbounded = "reject"


class BatchSettings(Section):
    """How batches are seen to their end, whether or not anybody fetches their results."""

    poll: Flag = True
    poll_s: Seconds = 60
    slack_s: Wait = 21_600


# Where calls go...


def _preset(value: str) -> str:
    if value not in PRESETS:
        raise ValueError(f"is no preset; {did_you_mean(value, PRESETS)}")
    return value


Preset = Annotated[str, AfterValidator(_preset), Expected("the name of a preset", "azure")]


class AwsSettings(Section):
    """Credentials with which requests to Bedrock are signed. The region is the host's, where it names one."""

    region: MaybeText = None
    access_key_id: Text = Field(repr=False)
    secret_access_key: Secret = Field(repr=False)
    session_token: MaybeSecret = Field(default=None, repr=False)


class UpstreamSettings(Section):
    """A provider's endpoint: address, credential, wire format, patience."""

    dialect: DialectName = "openai"
    preset: Preset | None = None
    base_url: BaseUrl
    api_key: MaybeSecret = Field(default=None, repr=False)
    aws: AwsSettings | None = None
    price_provider: MaybeText = None
    price_variants: list[Text] = Field(default=[])
    headers: dict[HeaderName, HeaderValue] = Field(default={}, repr=False)
    client: Literal["http1", "httpx"] = "http1"
    connect_timeout_s: Seconds = 5
    first_byte_timeout_s: Seconds = 600
    idle_timeout_s: Seconds = 300
    total_timeout_s: Seconds = 1800
    max_connections: Count = 1000
    idle_expiry_s: Wait = 30
    verify_tls: Flag = True
    ca_file: MaybeText = None
    on_client_leave: Literal["drain", "abort"] | None = None
    drain_s: Wait = 120
    max_draining: Quantity = 256
    include_usage: Flag | None = None
    cap_parameter: Literal["max_tokens", "max_completion_tokens"] | None = None

    @model_validator(mode="after")
    def _has_one_credential(self) -> Self:
        if self.aws is None:
            return self
        if self.api_key:
            raise ValueError(
                "has both api_key and aws; write api_key for a Bedrock API key, aws to sign requests"
            )
        if self.aws_region is None:
            raise ValueError(
                "has aws, and its host names no region; write region: us-east-1 below aws"
            )
        return self

    @property
    def aws_region(self) -> str | None:
        """The region that requests are signed for: as written, else the host's."""
        if self.aws is not None and self.aws.region:
            return self.aws.region
        found = _REGION.search(self.base_url)
        return found[1] if found else None


_REGION = re.compile(r"^https?://bedrock[a-z-]*\.([a-z0-9-]+)\.amazonaws\.com")
_BY_PATTERN = '{match: "gpt-*", upstream: openai}'
_BY_NAME = "{name: fast, targets: [openai/gpt-5-mini]}"


class ModelRule(Section):
    """Where a public model name leads: a pattern to one upstream, or a name to targets in order."""

    match: Glob | None = None
    name: Name | None = None
    upstream: UpstreamName | None = None
    targets: list[Text] = Field(default=[])
    upstream_model: Name | None = None
    max_output_tokens: Tokens | None = None

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if (self.match is None) == (self.name is None):
            raise ValueError(
                "needs match (a pattern, with upstream) or name (with targets), not both; "
                f"write {_BY_PATTERN} or {_BY_NAME}"
            )
        if self.match is not None and (self.targets or self.upstream is None):
            raise ValueError(
                f"a rule with match needs upstream, and no targets; write {_BY_PATTERN}"
            )
        if self.name is not None and (not self.targets or self.upstream or self.upstream_model):
            raise ValueError(f"a rule with name needs targets, and no upstream; write {_BY_NAME}")
        return self


# Who calls...


class TeamSettings(Paced):
    """A team: which models, how much at once, how much money."""

    name: Name
    organisation: Text = ""
    models: list[Glob] = Field(default=["*"])
    max_output_tokens: Tokens | None = None
    max_input_tokens: Tokens | None = None
    on_over_cap: OnOverCap | None = None
    budgets: list[BudgetSettings] = Field(default=[])

    def core(self) -> Team:
        """The team as the data path knows it."""
        return Team(
            name=self.name,
            organisation=self.organisation,
            models=tuple(self.models),
            max_output_tokens=self.max_output_tokens,
            max_input_tokens=self.max_input_tokens,
            on_over_cap=self.on_over_cap,
        )


class OrganisationSettings(Section):
    """An organisation's budgets; its teams name it."""

    name: Name
    budgets: list[BudgetSettings] = Field(default=[])


class KeySettings(Paced):
    """A key that callers show. An empty one (``${VAR:-}``) is not in use, and left out."""

    name: Name
    team: Name
    key: Secret = Field(repr=False)
    models: list[Glob] = Field(default=["*"])
    max_output_tokens: Tokens | None = None
    budgets: list[BudgetSettings] = Field(default=[])


def _in_use(keys: list[KeySettings]) -> list[KeySettings]:
    """An empty key must never open the door to a caller who shows an empty one."""
    return [key for key in keys if key.key]


class AcceptedKeys(Section):
    """Provider keys that applications already have: mapped to a team, and forwarded as they are."""

    upstream: UpstreamName
    team: Name
    prefix: Text = Field(default="", repr=False)
    sha256: Sha256 | None = Field(default=None, repr=False)

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        """With both it would be unclear whether one suffices; with neither, every key would do."""
        if bool(self.prefix) == (self.sha256 is not None):
            raise ValueError("needs either prefix or sha256; write prefix: sk-proj-")
        return self


# What calls cost...


class PriceOverride(Section):
    """Prices that come before the price book, in US dollars; what is absent falls back to input or output."""

    upstream: Glob = "*"
    model: Glob = "*"
    input_per_mtok: Price | None = None
    cached_input_per_mtok: Price | None = None
    cache_write_per_mtok: Price | None = None
    cache_write_1h_per_mtok: Price | None = None
    output_per_mtok: Price | None = None
    audio_input_per_mtok: Price | None = None
    audio_output_per_mtok: Price | None = None
    image_input_per_mtok: Price | None = None
    image_output_per_mtok: Price | None = None
    per_request: Price | None = None
    per_image: Price | None = None
    per_second: Price | None = None
    per_mchar: Price | None = None
    per_search: Price | None = None
    per_page: Price | None = None
    per_file_search: Price | None = None
    per_container: Price | None = None
    valid_from: Day | None = None
    multiplier: Factor | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set - {"upstream", "model", "valid_from"}:
            raise ValueError(
                "gives no price; write input_per_mtok and output_per_mtok, or a multiplier"
            )
        return self


# Everything...


class Settings(Section):
    """The whole configuration. Without a file, every default and no upstream."""

    database: DatabaseUrl = Field(default="sqlite:///data/farebox.db", repr=False)
    ledger: LedgerSettings = LedgerSettings()
    admin_token: MaybeSecret = Field(default=None, repr=False)
    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    batches: BatchSettings = BatchSettings()
    defaults: Defaults = Defaults()
    upstreams: dict[UpstreamName, UpstreamSettings] = Field(default={})
    models: list[ModelRule] = Field(default=[])
    teams: list[TeamSettings] = Field(default=[])
    organisations: list[OrganisationSettings] = Field(default=[])
    keys: Annotated[list[KeySettings], AfterValidator(_in_use)] = Field(default=[])
    budgets: list[ScopedBudgetSettings] = Field(default=[])
    accept_provider_keys: list[AcceptedKeys] = Field(default=[])
    prices: list[PriceOverride] = Field(default=[])
    alerts: AlertSettings = AlertSettings()
    tracing: TracingSettings = TracingSettings()
    logging: LoggingSettings = LoggingSettings()
    metrics: MetricsSettings = MetricsSettings()

    @property
    def is_sqlite(self) -> bool:
        """Whether the ledger is a file; else it is a PostgreSQL database."""
        return self.database.startswith("sqlite:")

    @property
    def sqlite_path(self) -> Path | None:
        """The ledger's file, relative to the working directory where it was written so."""
        return Path(self.database.removeprefix("sqlite:///")) if self.is_sqlite else None

    @property
    def database_shown(self) -> str:
        """The database for logs and messages: without password, without parameters."""
        if self.is_sqlite:
            return self.database
        parts = urlsplit(self.database)
        user = f"{quote(parts.username)}@" if parts.username else ""
        return f"postgresql://{user}{parts.netloc.rpartition('@')[2]}{parts.path}"

    def core_teams(self) -> dict[str, Team]:
        """The teams by name."""
        return {team.name: team.core() for team in self.teams}

    def core_budgets(self) -> tuple[Budget, ...]:
        """Every budget of the configuration, each with an id made of what it is for."""
        defaults = self.defaults
        return tuple(
            core_budget(budget, covers, defaults.unpriced, defaults.unbounded)
            for covers, budget in self._covered_budgets()
        )

    def _covered_budgets(self) -> Iterator[tuple[Covers, BudgetSettings]]:
        for organisation in self.organisations:
            for budget in organisation.budgets:
                yield Covers("organisation", organisation.name), budget
        for team in self.teams:
            for budget in team.budgets:
                yield Covers("team", team.name), budget
        for key in self.keys:
            for budget in key.budgets:
                yield Covers("key", key.name), budget
        for scoped in self.budgets:
            yield Covers(scoped.scope, scoped.subject, scoped.team), scoped
