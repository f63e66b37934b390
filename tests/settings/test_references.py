"""Names that lead nowhere, and what stands there twice, are told like any other mistake."""

from collections.abc import Callable

import pytest

Refused = Callable[..., list[str]]

UPSTREAM = "upstreams: {openai: {base_url: 'https://api.openai.com/v1'}}\n"
TEAM = "teams: [{name: search}]\n"

SCOPES = {
    "an unknown scope": (
        "{scope: users, limit_usd: 1}",
        (
            "budgets[0].scope: expected organisation, team, key, user, workflow, run, model or tag, "
            "got 'users'; did you mean user?"
        ),
    ),
    "a list for a scope": (
        "{scope: [user], limit_usd: 1}",
        (
            "budgets[0].scope: expected organisation, team, key, user, workflow, run, model or "
            "tag, got a list"
        ),
    ),
    "a tag without a value": (
        "{scope: tag, subject: env, limit_usd: 1}",
        'budgets[0]: names no tag; write subject: "name=value", or "*" for each tag',
    ),
    "no subject": (
        "{scope: user, subject: '', limit_usd: 1}",
        'budgets[0]: has no subject; write a name, or subject: "*" for each its own',
    ),
    "an unknown team": (
        "{scope: user, team: serch, limit_usd: 1}",
        "budgets[0].team: there is no team 'serch'; did you mean search?",
    ),
    "an unknown team as subject": (
        "{scope: team, subject: serch, limit_usd: 1}",
        "budgets[0].subject: there is no team 'serch'; did you mean search?",
    ),
    "an unknown key as subject": (
        "{scope: key, subject: prod, limit_usd: 1}",
        "budgets[0].subject: there is no key 'prod'; add it under keys",
    ),
    "an unknown organisation as subject": (
        "{scope: organisation, subject: acme, limit_usd: 1}",
        "budgets[0].subject: there is no organisation 'acme'; add it under organisations",
    ),
}

RULE = (
    "needs match (a pattern, with upstream) or name (with targets), not both; write "
    '{match: "gpt-*", upstream: openai} or {name: fast, targets: [openai/gpt-5-mini]}'
)
BY_PATTERN = (
    'a rule with match needs upstream, and no targets; write {match: "gpt-*", upstream: openai}'
)
BY_NAME = (
    "a rule with name needs targets, and no upstream; "
    "write {name: fast, targets: [openai/gpt-5-mini]}"
)
RULES = {
    "neither pattern nor name": ("{upstream: openai}", f"models[0]: {RULE}"),
    "pattern and name": ("{match: a, name: a, upstream: openai}", f"models[0]: {RULE}"),
    "a pattern that leads nowhere": ("{match: a}", f"models[0]: {BY_PATTERN}"),
    "a pattern with targets": (
        "{match: a, upstream: openai, targets: [openai/a]}",
        f"models[0]: {BY_PATTERN}",
    ),
    "a name that leads nowhere": ("{name: fast}", f"models[0]: {BY_NAME}"),
    "a name with targets and an upstream": (
        "{name: fast, upstream: openai, targets: [openai/a]}",
        f"models[0]: {BY_NAME}",
    ),
    "an upstream's own model name beside targets": (
        "{name: fast, targets: [openai/a], upstream_model: b}",
        f"models[0]: {BY_NAME}",
    ),
    "an unknown upstream": (
        "{match: a, upstream: opnai}",
        "models[0].upstream: there is no upstream 'opnai'; did you mean openai?",
    ),
    "an unknown upstream in a target": (
        "{name: fast, targets: [openai/a, azure/b]}",
        "models[0].targets[1]: there is no upstream 'azure'; write one of openai",
    ),
    "a target without an upstream": (
        "{name: fast, targets: [gpt-5]}",
        "models[0].targets[0]: 'gpt-5' is no target; write upstream/model, like openai/gpt-5",
    ),
    "a target without a model": (
        "{name: fast, targets: [openai/]}",
        "models[0].targets[0]: 'openai/' is no target; write upstream/model, like openai/gpt-5-mini",
    ),
}

TWICE = {
    "two teams of one name": (
        "teams: [{name: a}, {name: a}]",
        "teams[1].name: 'a' is taken by teams[0]; each needs its own name",
    ),
    "two organisations of one name": (
        "organisations: [{name: a}, {name: a}]",
        "organisations[1].name: 'a' is taken by organisations[0]; each needs its own name",
    ),
    "two keys of one name": (
        "keys: [{name: a, team: search, key: x}, {name: a, team: search, key: y}]",
        "keys[1].name: 'a' is taken by keys[0]; each needs its own name",
    ),
    "two keys with one secret": (
        "keys: [{name: a, team: search, key: hunter2}, {name: b, team: search, key: hunter2}]",
        "keys[1].key: is the same key as that of keys[0]; a key belongs to one entry",
    ),
    "two rules for one name": (
        "models: [{name: a, targets: [openai/a]}, {name: a, targets: [openai/b]}]",
        "models[1].name: 'a' is taken by models[0]; each needs its own name",
    ),
    "two rules for one pattern": (
        "models: [{match: a, upstream: openai}, {match: a, upstream: openai}]",
        "models[1].match: 'a' is taken by models[0]; each needs its own match",
    ),
    "two budgets for the same": (
        "organisations: [{name: acme, budgets: [{limit_usd: 1}, {limit_usd: 2, window: month}]}]",
        (
            "organisations[0].budgets[1]: is the same budget as organisations[0].budgets[0] "
            "(organisation:acme:month); keep one, or give it another window or on_exceed"
        ),
    ),
    "a budget of a team and the same by its scope": (
        "budgets: [{scope: user, limit_usd: 1, window: day}, {scope: user, limit_usd: 1, window: day}]",
        (
            "budgets[1]: is the same budget as budgets[0] "
            "(user:*:day); keep one, or give it another window or on_exceed"
        ),
    ),
    "the same provider keys for two teams": (
        (
            "accept_provider_keys: [{upstream: openai, team: search, prefix: sk-}, "
            "{upstream: openai, team: search, prefix: sk-}]"
        ),
        (
            "accept_provider_keys[1]: accepts the same keys as accept_provider_keys[0]; "
            "tell them apart by prefix or sha256"
        ),
    ),
}

PEOPLE = {
    "a key of an unknown team": (
        "keys: [{name: a, team: serch, key: x}]",
        "keys[0].team: there is no team 'serch'; did you mean search?",
    ),
    "a key without its secret": (
        "keys: [{name: a, team: search}]",
        'keys[0].key: is missing; write key: "${MY_KEY}"',
    ),
    "a key that YAML takes for a number": (
        "keys: [{name: a, team: search, key: 123456}]",
        'keys[0].key: expected a key like "${MY_KEY}", got the value (not shown); put it into quotes',
    ),
    "a key with a space in it": (
        "keys: [{name: a, team: search, key: hunter 2}]",
        (
            "keys[0].key: the value (not shown) has spaces, line breaks or non-ASCII characters inside; "
            "check the secret"
        ),
    ),
    "provider keys of an unknown upstream": (
        "accept_provider_keys: [{upstream: opnai, team: search, prefix: sk-}]",
        "accept_provider_keys[0].upstream: there is no upstream 'opnai'; did you mean openai?",
    ),
    "provider keys for an unknown team": (
        "accept_provider_keys: [{upstream: openai, team: ops, prefix: sk-}]",
        "accept_provider_keys[0].team: there is no team 'ops'; write one of search",
    ),
    "provider keys by nothing": (
        "accept_provider_keys: [{upstream: openai, team: search}]",
        "accept_provider_keys[0]: needs either prefix or sha256; write prefix: sk-proj-",
    ),
    "provider keys by two things": (
        f"accept_provider_keys: [{{upstream: openai, team: search, prefix: a, sha256: {64 * '0'}}}]",
        "accept_provider_keys[0]: needs either prefix or sha256; write prefix: sk-proj-",
    ),
    "a digest that is none": (
        "accept_provider_keys: [{upstream: openai, team: search, sha256: abc}]",
        (
            "accept_provider_keys[0].sha256: "
            "the value (not shown) is no SHA-256; write 64 hexadecimal digits"
        ),
    ),
}


@pytest.mark.parametrize(("budget", "message"), SCOPES.values(), ids=SCOPES)
def test_scoped_budget(refused: Refused, budget: str, message: str) -> None:
    assert refused(f"{TEAM}budgets: [{budget}]") == [f"farebox.yaml:2: {message}"]


@pytest.mark.parametrize(("rule", "message"), RULES.values(), ids=RULES)
def test_model_rule(refused: Refused, rule: str, message: str) -> None:
    assert refused(f"{UPSTREAM}models: [{rule}]") == [f"farebox.yaml:2: {message}"]


@pytest.mark.parametrize(("text", "message"), (TWICE | PEOPLE).values(), ids=TWICE | PEOPLE)
def test_names(refused: Refused, text: str, message: str) -> None:
    above = UPSTREAM if text.startswith("teams") else UPSTREAM + TEAM
    line = above.count("\n") + 1

    assert refused(above + text) == [f"farebox.yaml:{line}: {message}"]


def test_organisation_of_a_team(refused: Refused) -> None:
    """Where organisations are listed a team names one of them: else their budgets would miss it."""
    text = "organisations: [{name: acme}]\nteams: [{name: a, organisation: acne}]"

    assert refused(text) == [
        "farebox.yaml:2: teams[0].organisation: there is no organisation 'acne'; did you mean acme?"
    ]


def test_budgets_meet_across_sections(refused: Refused) -> None:
    """A team's budget, and one with that scope and subject, would be one row of the ledger."""
    text = """\
        teams:
          - {name: search, budgets: [{limit_usd: 1}]}
        budgets:
          - {scope: team, subject: search, limit_usd: 2}
    """

    assert refused(text) == [
        (
            "farebox.yaml:4: budgets[0]: is the same budget as teams[0].budgets[0] "
            "(team:search:month); keep one, or give it another window or on_exceed"
        )
    ]


def test_every_problem_at_once(refused: Refused) -> None:
    """Unknown names, wrong types, missing variables and names that lead nowhere: one message, by line."""
    text = """\
        admin_token: ${TOKEN}
        upstreams:
          openai: {base_url: https://api.openai.com/v1, dialct: openai}
        models:
          - {match: "gpt-*", upstream: opnai}
        teams:
          - {name: search, max_output_tokens: lots}
        keys:
          - {name: prod, team: serch, key: abc}
    """

    assert refused(text, {"FAREBOX_PROT": "80"}) == [
        "environment variable FAREBOX_PROT: sets nothing; did you mean FAREBOX_SERVER__PORT?",
        (
            "farebox.yaml:1: admin_token: the environment variable TOKEN is not set; set it, or write "
            "${TOKEN:-a default}, or ${TOKEN:-} to go without"
        ),
        "farebox.yaml:3: upstreams.openai.dialct: there is no such field; did you mean dialect?",
        "farebox.yaml:5: models[0].upstream: there is no upstream 'opnai'; did you mean openai?",
        "farebox.yaml:7: teams[0].max_output_tokens: expected a number of tokens like 1000, got 'lots'",
        "farebox.yaml:9: keys[0].team: there is no team 'serch'; did you mean search?",
    ]
