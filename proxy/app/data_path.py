"""From settings to the data path's own configuration, with a client for each upstream."""

import re
from collections import Counter
from collections.abc import Mapping
from urllib.parse import urlsplit

from proxy.core.errors import ConfigurationError
from proxy.core.pricing import PriceBook
from proxy.core.rates import RateLimit
from proxy.gateway.config import BatchPolicy, Defaults, GatewayConfig, Limits, Upstream, speaks
from proxy.gateway.credentials import BEARER, HEADERS, credential
from proxy.gateway.dialects.base import Quirks
from proxy.gateway.presets import Preset, preset_for, price_variants, provider_of
from proxy.gateway.router import Router, Rule, Target
from proxy.gateway.upstreams import build_client
from proxy.gateway.upstreams.base import Headers, Timeouts
from proxy.gateway.upstreams.signing import Signer, aws_signer
from proxy.gateway.upstreams.sockets import SocketClient
from proxy.settings import ModelRule, Settings, UpstreamSettings

_VERSION = re.compile(r"(/v\d\w*)/?$")
_GEMINI_VERSION = "/v1beta"

Made = tuple[UpstreamSettings, Upstream]  # an upstream beside what it was made from


def gateway_config(
    settings: Settings, prices: PriceBook, kept: Mapping[str, Made]
) -> tuple[GatewayConfig, dict[str, Made]]:
    """The data path's configuration, and its upstreams beside what they were made from.

    An upstream in ``kept`` whose settings did not change keeps its connections. Raises
    ConfigurationError.
    """
    upstreams = {}
    for name, wanted in settings.upstreams.items():
        known = kept.get(name)
        if known is not None and known[0] == wanted:
            upstreams[name] = known
        else:
            upstreams[name] = (wanted, _explained(name, wanted))
    config = GatewayConfig(
        upstreams={name: upstream for name, (_, upstream) in upstreams.items()},
        router=Router(
            (_rule(rule) for rule in settings.models),
            {name: speaks(upstream) for name, (_, upstream) in upstreams.items()},
        ),
        prices=prices,
        limits=Limits(settings.limits.max_body_bytes, settings.limits.max_header_bytes),
        defaults=Defaults(
            max_output_tokens=settings.defaults.max_output_tokens,
            on_over_cap=settings.defaults.on_over_cap,
            hold_wait_s=settings.ledger.hold_wait_s,
        ),
        propagate=settings.tracing.propagate,
        batches=BatchPolicy(
            settings.batches.poll, settings.batches.poll_s, settings.batches.slack_s
        ),
        shared=_shared([upstream for _, upstream in upstreams.values()]),
        rate_limits=_rate_limits(settings),
    )
    return config, upstreams


def _rate_limits(settings: Settings) -> dict[tuple[str, str], RateLimit]:
    limits = {("team", team.name): team.rate_limit for team in settings.teams}
    limits |= {("key", key.name): key.rate_limit for key in settings.keys}
    return {whose: limit for whose, limit in limits.items() if limit}


def _shared(upstreams: list[Upstream]) -> frozenset[str]:
    """The APIs that several upstreams speak: what a client has made may be at any of them."""
    spoken = Counter(family for upstream in upstreams for family in speaks(upstream))
    return frozenset(family for family, count in spoken.items() if count > 1)


def _explained(name: str, wanted: UpstreamSettings) -> Upstream:
    try:
        return _upstream(name, wanted)
    except ConfigurationError as error:
        raise ConfigurationError(f"upstreams.{name}.{error}") from None


def _upstream(name: str, wanted: UpstreamSettings) -> Upstream:
    base = urlsplit(wanted.base_url)
    preset = preset_for(wanted.preset, base.hostname or "", wanted.dialect)
    base_url, prefix = _address(wanted, preset)
    beside = prefix and not base.path.rstrip("/").endswith(prefix)
    family = _family(wanted, preset)
    header = _credential_header(preset, family)
    openai_header = BEARER if header != "api-key" else header
    include_usage = preset.include_usage if wanted.include_usage is None else wanted.include_usage
    leave = wanted.on_client_leave
    timeouts = Timeouts(
        connect=wanted.connect_timeout_s,
        first_byte=wanted.first_byte_timeout_s,
        idle=wanted.idle_timeout_s,
        total=wanted.total_timeout_s,
    )
    return Upstream(
        name=name,
        client=build_client(
            base_url,
            client=wanted.client,
            timeouts=timeouts,
            max_connections=wanted.max_connections,
            idle_expiry_s=wanted.idle_expiry_s,
            verify_tls=wanted.verify_tls,
            ca_file=wanted.ca_file,
        ),
        sockets=SocketClient(
            base_url, timeouts=timeouts, verify_tls=wanted.verify_tls, ca_file=wanted.ca_file
        ),
        dialect=family,
        provider=wanted.price_provider
        or provider_of(name, wanted.preset, base.hostname or "", wanted.dialect),
        host=base.hostname or "",
        variants=(*price_variants(base.hostname or ""), *wanted.price_variants),
        credential=_credential(header, wanted),
        credential_header=header,
        openai_prefix=prefix.encode() if beside else b"",
        also=preset.also,
        openai_credential=_credential(openai_header, wanted),
        sign=_signer(base_url, wanted),
        headers=[(k.lower().encode(), v.encode()) for k, v in wanted.headers.items()],
        quirks=Quirks(include_usage, wanted.cap_parameter or preset.cap_parameter or None),
        drain=preset.drain if leave is None else leave == "drain",
        bills_whole=preset.drain,
        drain_s=wanted.drain_s,
        max_draining=wanted.max_draining,
    )


def _family(wanted: UpstreamSettings, preset: Preset) -> str:
    """Whose paths the upstream understands."""
    own = wanted.dialect != "openai"
    return (preset.family if own else "") or wanted.dialect


def _address(wanted: UpstreamSettings, preset: Preset) -> tuple[str, str]:
    """The base URL as a client of it needs it, and what stands before an OpenAI path there.

    Of Gemini's, the version at the end is only for OpenAI's paths: its own ones bring theirs, which
    does not even come first in the paths of uploads.
    """
    if wanted.dialect != "gemini":
        return wanted.base_url, preset.openai_prefix
    version = _VERSION.search(wanted.base_url)
    bare = wanted.base_url[: version.start()] if version else wanted.base_url
    if not preset.openai_prefix:
        return bare, ""
    return bare, (version[1] if version else _GEMINI_VERSION) + preset.openai_prefix


def _credential_header(preset: Preset, family: str) -> str:
    if preset.credential_header != BEARER:
        return preset.credential_header
    return HEADERS.get(family, BEARER)


def _credential(header: str, wanted: UpstreamSettings) -> Headers:
    return credential(header, wanted.api_key) if wanted.api_key else []


def _signer(base_url: str, wanted: UpstreamSettings) -> Signer | None:
    aws, region = wanted.aws, wanted.aws_region
    if aws is None or region is None:
        return None
    return aws_signer(base_url, region, aws.access_key_id, aws.secret_access_key, aws.session_token)


def _rule(rule: ModelRule) -> Rule:
    if rule.name is not None:
        targets = tuple(_target(target) for target in rule.targets)
        return Rule(rule.name, targets, exact=True, max_output_tokens=rule.max_output_tokens)
    target = Target(rule.upstream or "", rule.upstream_model or "")
    return Rule(rule.match or "*", (target,), max_output_tokens=rule.max_output_tokens)


def _target(written: str) -> Target:
    upstream, _, model = written.partition("/")
    return Target(upstream, model)
