"""``farebox keys``: who may call."""

import sys
import time
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxy.cli.output import Column, Format, FormatOption, show
from proxy.cli.refused import refused
from proxy.cli.session import ACTOR, ConfigOption, key_store, load, opened, run_async, use_config
from proxy.cli.spans import moment, span_s

if TYPE_CHECKING:
    from proxy.store.key_rows import KeyRequest, NewKey, StoredKey

app = typer.Typer(help="Who may call.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The key's name or id.")]
COLUMNS = [
    Column(name)
    for name in (
        "name",
        "team",
        "prefix",
        "state",
        "origin",
        "models",
        "created_at",
        "expires_at",
        "id",
    )
]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What to call it, in rows and reports.")],
    *,
    team: Annotated[str, typer.Option(help="The team whose calls it makes.")],
    models: Annotated[str, typer.Option(help="Globs over model names, joined by commas.")] = "*",
    max_output_tokens: Annotated[
        int | None, typer.Option(min=1, help="Its own output cap.")
    ] = None,
    expires: Annotated[
        datetime | None, typer.Option(parser=moment, help="When it ends: 2026-12-31.")
    ] = None,
    output: FormatOption = Format.TABLE,
    config: ConfigOption = None,
) -> None:
    """Make a key. Its secret is shown now and never again."""
    use_config(config)
    request = _request(
        {
            "name": name,
            "team": team,
            "models": [glob.strip() for glob in models.split(",") if glob.strip()],
            "max_output_tokens": max_output_tokens,
            "expires_at": expires,
        }
    )
    _show_new(run_async(_create(request)), output)


def _request(given: dict[str, Any]) -> "KeyRequest":
    from pydantic import ValidationError  # noqa: PLC0415 - slow; ``--help`` does without

    from proxy.admin.shapes import KeyBody  # noqa: PLC0415 - see above

    try:
        return KeyBody.model_validate(given).request()
    except ValidationError as error:
        raise refused(error, "name") from None


async def _create(request: "KeyRequest") -> "NewKey":
    settings, _ = load()
    async with opened(settings) as database:
        store = await key_store(settings, database)
        return await store.create(request, ACTOR)


@app.command("list")
def list_keys(*, output: FormatOption = Format.TABLE, config: ConfigOption = None) -> None:
    """Show every key there ever was, without its secret."""
    use_config(config)
    show([_row(key) for key in run_async(_list())], COLUMNS, output, "Keys")


async def _list() -> "list[StoredKey]":
    settings, _ = load()
    async with opened(settings) as database:
        return await (await key_store(settings, database)).list()


@app.command()
def revoke(name: Name, *, config: ConfigOption = None) -> None:
    """End a key for good, in every process within a second."""
    use_config(config)
    key = run_async(_revoke(name))
    sys.stdout.write(f"revoked {key.name} ({key.prefix})\n")


async def _revoke(name: str) -> "StoredKey":
    settings, _ = load()
    async with opened(settings) as database:
        return await (await key_store(settings, database)).revoke(name, ACTOR)


@app.command()
def rotate(
    name: Name,
    *,
    grace: Annotated[
        float, typer.Option(parser=span_s, help="How long the old secret still works: 24h.")
    ] = "0s",  # type: ignore[assignment] # the parser turns it into seconds
    output: FormatOption = Format.TABLE,
    config: ConfigOption = None,
) -> None:
    """Give a key a new secret, shown now and never again."""
    use_config(config)
    _show_new(run_async(_rotate(name, grace)), output)


async def _rotate(name: str, grace_s: float) -> "NewKey":
    settings, _ = load()
    async with opened(settings) as database:
        return await (await key_store(settings, database)).rotate(name, ACTOR, grace_s)


def _show_new(new: "NewKey", output: Format) -> None:
    row = {**_row(new.stored), "secret": new.secret}
    if output is not Format.TABLE:
        show([row], COLUMNS, output)
        return
    # The secret alone on stdout, so that a script can take it: KEY=$(farebox keys create …)
    sys.stderr.write(f"{new.stored.name} (team {new.stored.team}); this is shown only now:\n")
    sys.stdout.write(f"{new.secret}\n")


def _row(key: "StoredKey") -> dict[str, object]:
    from proxy.core.present import iso  # noqa: PLC0415 - slow; ``--help`` does without

    shown = {n: v for n, v in asdict(key).items() if not n.endswith(("sha256", "_us"))}
    times = {
        f"{name}_at": None if at is None else iso(at)
        for name, at in (
            ("created", key.created_at_us),
            ("expires", key.expires_at_us),
            ("revoked", key.revoked_at_us),
        )
    }
    return {
        **shown,
        "models": list(key.models),
        "state": key.state(time.time_ns() // 1000),
        **times,
    }
