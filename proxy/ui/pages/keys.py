"""Keys: listed, made, rotated and revoked. A secret is on one page, once."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from proxy.core.present import iso_second
from proxy.store.key_rows import CONFIGURED, KeyNotChanged, KeyRequest, NewKey, StoredKey
from proxy.ui.access import read_form
from proxy.ui.deps import UiDeps
from proxy.ui.problems import Problem
from proxy.ui.rendering import address, render
from proxy.ui.sight import Sight

ACTOR = "ui"
_US = 1_000_000
_STATES = {"active": 0, "expired": 1, "revoked": 2}
_MOST_NAME = 100
GRACES = {"0": "at once", "3600": "after an hour", "86400": "after a day", "604800": "after a week"}
_DAYS = {"": 0, "30": 30, "90": 90, "365": 365}


async def show(request: Request, sight: Sight) -> Response:
    """The list."""
    now_us = round(sight.now_s() * _US)
    found = [(key, key.state(now_us)) for key in await sight.keys()]
    found.sort(key=lambda pair: (_STATES[pair[1]], pair[0].team, pair[0].name))
    asked = request.query_params
    shown = [(key, state) for key, state in found if asked.get("all") or state == "active"]
    return render(
        request,
        "keys.html",
        viewer=sight.viewer,
        form_token=request.state.form_token,
        keys=[
            (key, state, _day(key.created_at_us), _day(key.expires_at_us)) for key, state in shown
        ],
        hidden=len(found) - len(shown),
        all=bool(asked.get("all")),
        configured=CONFIGURED,
        revoked=asked.get("revoked", ""),
    )


def _day(at_us: int | None) -> str:
    return "–" if at_us is None else iso_second(at_us // _US)[:10]


class Keeping:
    """What changes keys."""

    def __init__(self, deps: UiDeps) -> None:
        self._deps = deps

    async def new(self, request: Request, sight: Sight) -> Response:
        """The form for a new key, and its secret."""
        if request.method == "GET":
            form = {"name": "", "team": request.query_params.get("team", ""), "models": "*"}
            return _form(request, sight, {**form, "max_output_tokens": "", "days": ""}, "")
        form = {k: v.strip() for k, v in (await read_form(request)).items()}
        try:
            wanted = self._request(form, round(sight.now_s() * _US))
            made = await self._deps.keys.create(wanted, ACTOR)
        except (KeyNotChanged, ValueError) as error:
            return _form(request, sight, form, str(error), 422)
        return _secret(request, sight, made, "made")

    def _request(self, form: Mapping[str, str], now_us: int) -> KeyRequest:
        name, cap = form.get("name", ""), form.get("max_output_tokens", "")
        if not name or len(name) > _MOST_NAME or any(c.isspace() or c in "/," for c in name):
            raise ValueError("A name has 1 to 100 characters, without spaces, slashes and commas.")
        if cap and not (cap.isascii() and cap.isdigit() and int(cap)):
            raise ValueError("The output cap is a whole number of tokens, or empty.")
        models = tuple(form.get("models", "").replace(",", " ").split()) or ("*",)
        days = _DAYS.get(form.get("days", ""), 0)
        expires = now_us + days * 86_400 * _US if days else None
        return KeyRequest(name, form.get("team", ""), models, int(cap) if cap else None, expires)

    async def rotate(self, request: Request, sight: Sight) -> Response:
        """A new secret; the old one works for the chosen time yet."""
        key = await _named(request, sight)
        if request.method == "GET":
            return _confirm(request, sight, key, "rotate")
        grace = (await read_form(request)).get("grace", "0")
        grace_s = float(grace) if grace in GRACES else 0.0
        try:
            made = await self._deps.keys.rotate(key.id, ACTOR, grace_s)
        except KeyNotChanged as error:
            raise Problem(400, f"{error}.") from error
        return _secret(request, sight, made, "rotated")

    async def revoke(self, request: Request, sight: Sight) -> Response:
        """The end of a key."""
        key = await _named(request, sight)
        if request.method == "GET":
            return _confirm(request, sight, key, "revoke")
        try:
            await self._deps.keys.revoke(key.id, ACTOR)
        except KeyNotChanged as error:
            raise Problem(400, f"{error}.") from error
        return RedirectResponse(address("/keys", revoked=key.name), 303)


async def _named(request: Request, sight: Sight) -> StoredKey:
    wanted = request.path_params["key_id"]
    for key in await sight.keys():
        if key.id == wanted:
            return key
    raise Problem(404, "There is no such key. Look at the list of keys.")


def _form(
    request: Request, sight: Sight, form: Mapping[str, str], problem: str, status: int = 200
) -> Response:
    names = ("name", "team", "models", "max_output_tokens", "days")
    return render(
        request,
        "key_new.html",
        status=status,
        viewer=sight.viewer,
        form_token=request.state.form_token,
        form={name: form.get(name, "") for name in names},
        teams=sight.teams(),
        problem=problem,
    )


def _secret(request: Request, sight: Sight, made: NewKey, what: str) -> Response:
    return render(
        request,
        "key_secret.html",
        viewer=sight.viewer,
        form_token=request.state.form_token,
        key=made.stored,
        secret=made.secret,
        what=what,
        base=f"{request.url.scheme}://{request.url.netloc}",
    )


def _confirm(request: Request, sight: Sight, key: StoredKey, what: str) -> Response:
    return render(
        request,
        "key_confirm.html",
        viewer=sight.viewer,
        form_token=request.state.form_token,
        key=key,
        what=what,
        graces=GRACES,
    )
