"""What is known of providers of the OpenAI format, as data: a new quirk is a line, not code.

Sources: the providers' documentation, and recorded traffic of theirs. ``drain`` is what to do when a
client leaves a stream: providers that go on generating and bill the whole answer are read to the
end, so that the ledger has their count; the others stop, and are closed and counted.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preset:
    """One provider's ways."""

    provider: str  # its name in the price book; "" where it has no list prices
    include_usage: bool = True  # takes stream_options.include_usage
    cap_parameter: str = ""  # "" means: by model, as OpenAI does
    drain: bool = False
    credential_header: str = "authorization"
    # What stands before an OpenAI path at its bare host, or after its own API's prefix.
    openai_prefix: str = ""
    also: tuple[str, ...] = ()  # whose API it speaks too, at the same place as OpenAI's
    family: str = ""  # whose paths it understands, where that is not its dialect's name
    lists: bool = True  # whether it tells its models


_SELF_HOSTED = Preset("", cap_parameter="max_tokens")
_WITH_MESSAGES = Preset("", cap_parameter="max_tokens", also=("anthropic",))

PRESETS: dict[str, Preset] = {
    "openai": Preset("openai"),
    "azure": Preset("azure", credential_header="api-key", openai_prefix="/openai/v1"),
    "mistral": Preset("mistral", include_usage=False, cap_parameter="max_tokens", drain=True),
    "deepseek": Preset("deepseek", cap_parameter="max_tokens"),
    "groq": Preset("groq", drain=True),
    "xai": Preset("x-ai"),
    "openrouter": Preset("openrouter", include_usage=False, cap_parameter="max_tokens"),
    "together": Preset("together", include_usage=False, cap_parameter="max_tokens"),
    "fireworks": Preset("fireworks", cap_parameter="max_tokens"),
    "perplexity": Preset(
        "perplexity", include_usage=False, cap_parameter="max_tokens", drain=True, lists=False
    ),
    "cerebras": Preset("cerebras"),
    "cohere": Preset("cohere", cap_parameter="max_tokens", openai_prefix="/compatibility/v1"),
    "gemini": Preset("google", cap_parameter="max_tokens", drain=True, openai_prefix="/openai"),
    "vertex": Preset(
        "google", cap_parameter="max_tokens", drain=True, family="vertex", lists=False
    ),
    "dashscope": Preset("alibaba", cap_parameter="max_tokens", drain=True),
    "ark": Preset("ark", cap_parameter="max_tokens"),
    "qianfan": Preset("qianfan", cap_parameter="max_tokens"),
    "hunyuan": Preset("hunyuan", include_usage=False, cap_parameter="max_tokens"),
    "moonshot": Preset("moonshotai", cap_parameter="max_tokens"),
    "zai": Preset("z-ai", include_usage=False, cap_parameter="max_tokens"),
    "minimax": Preset("minimax", cap_parameter="max_tokens", drain=True),
    "tgi": _SELF_HOSTED,
    "vllm": _WITH_MESSAGES,
    "ollama": Preset("", cap_parameter="max_tokens", openai_prefix="/v1", also=("anthropic",)),
    "bedrock": Preset(
        "aws", cap_parameter="max_tokens", drain=True, openai_prefix="/openai/v1", lists=False
    ),
    # Its base URL may be the bare host, as its own SDKs have it.
    "anthropic": Preset(
        "anthropic",
        include_usage=False,
        cap_parameter="max_tokens",
        openai_prefix="/v1",
        also=("anthropic",),
    ),
    "lmstudio": _WITH_MESSAGES,
    "mlx": _SELF_HOSTED,
    "llamacpp": _WITH_MESSAGES,
    "sglang": _WITH_MESSAGES,
    "tensorrt": _SELF_HOSTED,
    "triton": _SELF_HOSTED,
}

# A base URL of a provider says which one it is, without a preset.
HOSTS: dict[str, str] = {
    "api.openai.com": "openai",
    "us.api.openai.com": "openai",
    "eu.api.openai.com": "openai",
    "api.mistral.ai": "mistral",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.x.ai": "xai",
    "openrouter.ai": "openrouter",
    "api.together.xyz": "together",
    "api.fireworks.ai": "fireworks",
    "api.perplexity.ai": "perplexity",
    "api.cerebras.ai": "cerebras",
    "generativelanguage.googleapis.com": "gemini",
    "api.moonshot.ai": "moonshot",
    "api.z.ai": "zai",
    "api.anthropic.com": "anthropic",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
}

# What an address says about prices: some providers ask more for work done in one region.
REGIONS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"us\.api\.openai\.com"), "us"),
    (re.compile(r"eu\.api\.openai\.com"), "eu"),
    # Vertex: the bare host serves the global place, all others a region or several.
    (
        re.compile(r"[a-z0-9-]+-aiplatform\.googleapis\.com|aiplatform\.\w+\.rep\.googleapis\.com"),
        "regional",
    ),
)

# The same for providers whose hosts differ by region or customer.
DOMAINS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?:.+-)?aiplatform(?:\..+)?\.googleapis\.com"), "vertex"),
    (re.compile(r".+\.(?:openai|services\.ai|cognitiveservices)\.azure\.com"), "azure"),
    (re.compile(r"bedrock-runtime(?:-fips)?\..+\.amazonaws\.com(?:\.cn)?"), "bedrock"),
)

_WORD_END = re.compile(r"[^a-z0-9]")

# Any other server that speaks the format: no list prices, nothing assumed but the format.
UNKNOWN = Preset("")


def preset_for(name: str | None, host: str, dialect: str = "openai") -> Preset:
    """The preset of an upstream: as configured, else by its host, else by its dialect."""
    own = dialect if dialect != "openai" else ""
    known = next((preset for host_of, preset in DOMAINS if host_of.fullmatch(host)), own)
    return PRESETS.get(name or HOSTS.get(host, known), UNKNOWN)


def provider_of(upstream: str, name: str | None, host: str, dialect: str = "openai") -> str:
    """The price book's name of an upstream's provider; "" where it has no list prices.

    At an address that nobody knows (a gateway of one's own, another region) the upstream's own name
    says it, as in ``openai`` or ``mistral-eu``: who calls a server that means its prices.
    """
    preset = preset_for(name, host, dialect)
    if preset is UNKNOWN:
        preset = PRESETS.get(_WORD_END.split(upstream.lower(), maxsplit=1)[0], UNKNOWN)
    return preset.provider


def price_variants(host: str) -> tuple[str, ...]:
    """The variants of prices (docs/prices.md) that an address stands for."""
    return tuple(variant for pattern, variant in REGIONS if pattern.fullmatch(host.lower()))
