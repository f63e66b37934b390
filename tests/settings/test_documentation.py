"""docs/configuration.md has every setting with its default, and the sample loads as it is."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

from proxy.settings import (
    AcceptedKeys,
    AlertSettings,
    AwsSettings,
    BatchSettings,
    BudgetSettings,
    ChannelSettings,
    Defaults,
    KeySettings,
    LedgerSettings,
    LimitSettings,
    LoggingSettings,
    MetricsSettings,
    ModelRule,
    OrganisationSettings,
    PriceOverride,
    Reserve,
    ScopedBudgetSettings,
    ServerSettings,
    Settings,
    TeamSettings,
    TracingSettings,
    UpstreamSettings,
    load_settings,
)
from proxy.settings.budgets import Section
from proxy.settings.fields import PRESETS
from proxy.settings.rates import Paced
from proxy.settings.shape import fields

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs/configuration.md").read_text()
SAMPLE = ROOT / "config/farebox.yaml"

CHAPTERS: dict[str, type[Section]] = {
    "Top level": Settings,
    "`ledger`": LedgerSettings,
    "`server`": ServerSettings,
    "`limits`": LimitSettings,
    "`batches`": BatchSettings,
    "`defaults`": Defaults,
    "`upstreams`": UpstreamSettings,
    "`models`": ModelRule,
    "`teams`": TeamSettings,
    "`organisations`": OrganisationSettings,
    "`keys`": KeySettings,
    "A budget": BudgetSettings,
    "`unbounded` with an amount": Reserve,
    "`budgets`": ScopedBudgetSettings,
    "`accept_provider_keys`": AcceptedKeys,
    "`prices`": PriceOverride,
    "`alerts`": AlertSettings,
    "A channel": ChannelSettings,
    "`tracing`": TracingSettings,
    "`aws`": AwsSettings,
    "`logging`": LoggingSettings,
    "`metrics`": MetricsSettings,
}


def rows(chapter: str) -> dict[str, str]:
    """The settings of a chapter with their defaults, as documented."""
    text = re.split(
        r"^#+ ", DOCUMENT.partition(f"# {chapter}\n")[2], maxsplit=1, flags=re.MULTILINE
    )
    found = re.findall(r"^\| `(\w+)` \| (.*?) \| .+ \|$", text[0], flags=re.MULTILINE)
    return dict(found)


WORDS: list[tuple[Any, str]] = [
    (PydanticUndefined, "required"),
    (None, "none"),
    ("", "none"),
    ([], "empty"),
    ({}, "empty"),
]


def written(default: Any) -> str:
    """A default in the words of the document."""
    if word := next(
        (word for value, word in WORDS if type(value) is type(default) and value == default), ""
    ):
        return word
    if isinstance(default, Section):
        return "see below"
    return f"`{json.dumps(default)}`".replace('`"', "`").replace('"`', "`")


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_setting_is_documented_with_its_default(chapter: str) -> None:
    """Each in its own chapter, and no other is; what a budget on anything has of a budget stands there."""
    section = CHAPTERS[chapter]
    inherited = section.__base__.model_fields if section.__base__ is BudgetSettings else {}

    expected = {
        name: written(field.default)
        for name, field in section.model_fields.items()
        if name not in inherited
    }

    assert rows(chapter) == expected


def test_every_section_is_documented() -> None:
    def sections(of: type[Section]) -> set[type[Section]]:
        return {below for sub in of.__subclasses__() for below in {sub, *sections(sub)}}

    assert sections(Section) - {Paced} == set(CHAPTERS.values())  # what teams and keys share
    assert all(fields(section) for section in CHAPTERS.values())


def test_every_preset_is_documented() -> None:
    assert [name for name in PRESETS if f"`{name}`" not in DOCUMENT] == []


# The sample


def test_the_sample_loads_with_nothing_set() -> None:
    settings = load_settings(SAMPLE, {})

    assert list(settings.upstreams) == ["openai", "anthropic", "local"]
    assert [b.id for b in settings.core_budgets()] == ["team:search:month", "team:search:day:warn"]
    assert settings.keys == []
    assert settings.admin_token is None


def test_the_sample_takes_its_secrets_from_the_environment() -> None:
    env = {
        "FAREBOX_ADMIN_TOKEN": "admin",
        "OPENAI_API_KEY": "sk-1",
        "ANTHROPIC_API_KEY": "sk-2",
        "SEARCH_PROD_KEY": "fb-sk-3",
    }

    settings = load_settings(SAMPLE, env)

    assert settings.admin_token == "admin"
    assert [u.api_key for u in settings.upstreams.values()] == ["sk-1", "sk-2", None]
    assert [(k.name, k.team, k.key) for k in settings.keys] == [
        ("search-prod", "search", "fb-sk-3")
    ]
    assert settings.prices[0].output_per_mtok == Decimal("0.42")


def test_the_sample_holds_no_secret() -> None:
    """Every credential in it, also in what is commented out, is a variable."""
    values = re.findall(r"\b(?:api_key|key|admin_token): *(\S+)", SAMPLE.read_text())

    assert values
    assert [value for value in values if not value.startswith(('"${', "${"))] == []


def test_what_the_sample_comments_out_loads_too(tmp_path: Path) -> None:
    """An example that does not work is worse than none."""
    text = re.sub(
        r"^( *)# (?=budgets:|accept_provider_keys:|groq:|  - )",
        r"\1",
        SAMPLE.read_text(),
        flags=re.MULTILINE,
    )
    (tmp_path / "farebox.yaml").write_text(text)

    settings = load_settings(tmp_path / "farebox.yaml", {"GROQ_API_KEY": "gsk"})

    assert "groq" in settings.upstreams
    assert settings.core_budgets()[-1].id == "user:*:day:team=search"
    assert [a.prefix for a in settings.accept_provider_keys] == ["sk-proj-"]
