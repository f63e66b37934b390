"""Logging in and out, and the one gate that every page stands behind."""

from collections.abc import Awaitable, Callable
from hmac import compare_digest
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from proxy.ui.attempts import Attempts
from proxy.ui.deps import UiDeps
from proxy.ui.problems import Problem
from proxy.ui.rendering import render
from proxy.ui.security import is_cross_site
from proxy.ui.session import LASTS_S, LOGIN_LASTS_S, Session, Signer
from proxy.ui.sight import Sight, Viewer

SESSION_COOKIE = "farebox_session"
LOGIN_COOKIE = "farebox_login"
_MOST_FIELDS = 50
_MOST_BYTES = 65_536

Page = Callable[[Request, Sight], Awaitable[Response]]
Handler = Callable[[Request], Awaitable[Response]]


class Access:
    """Who gets in."""

    def __init__(self, deps: UiDeps) -> None:
        self._deps = deps
        self._attempts = Attempts()

    # Pages

    def page(self, show: Page) -> Handler:
        """A page for whoever is logged in; others come back to it when they are."""

        async def handle(request: Request) -> Response:
            signer = self._signer()
            if signer is None:
                return _closed(request)
            viewer, session = await self._seen(request, signer)
            if viewer is None or session is None:
                return _to_login(request)
            request.state.viewer = viewer
            request.state.form_token = signer.form_token(session)
            if request.method == "POST":
                await self._check_form(request, signer, session)
            return await show(request, Sight(self._deps, viewer))

        return handle

    def admin_page(self, show: Page) -> Handler:
        """The same for the administrator only."""

        async def guarded(request: Request, sight: Sight) -> Response:
            if not sight.viewer.is_admin:
                raise Problem(
                    403, "A team's key shows its team's numbers; only the admin token changes any."
                )
            return await show(request, sight)

        return self.page(guarded)

    async def _seen(self, request: Request, signer: Signer) -> tuple[Viewer | None, Session | None]:
        session = signer.read(request.cookies.get(SESSION_COOKIE, ""), self._deps.clock_s())
        if session is None:
            return None, None
        if session.is_admin:
            return Viewer(), session
        key = await self._deps.keys.of_id(session.key_id)
        if key is None:
            return None, None
        now_us = round(self._deps.clock_s() * 1_000_000)
        proofs = [signer.key_proof(digest) for digest in key.digests(now_us)]
        if not any(compare_digest(proof, session.key_proof) for proof in proofs):
            return None, None
        return Viewer(key.team, key.name), session

    async def _check_form(self, request: Request, signer: Signer, session: Session) -> None:
        form = await read_form(request)
        ours = signer.is_form_token(session, form.get("form_token", ""))
        if not ours or is_cross_site(dict(request.headers)):
            raise Problem(
                403, "This form was not sent from this page. Open the page anew and retry."
            )

    # Login

    async def login(self, request: Request) -> Response:
        """The form, and what becomes of it."""
        signer = self._signer()
        if signer is None:
            return _closed(request)
        if request.method == "GET":
            return self._form(request, signer, "")
        form = await read_form(request)
        secret = form.get("secret", "").strip()
        cookie = request.cookies.get(LOGIN_COOKIE, "")
        now_s = self._deps.clock_s()
        ours = signer.is_login(cookie, form.get("form_token", ""), now_s)
        if not ours or is_cross_site(dict(request.headers)):
            return self._form(request, signer, "The form was too old. Please try once more.", 403)
        address = request.client.host if request.client else ""
        if wait_s := self._attempts.wait_s(address, now_s):
            said = f"Too many wrong tries. Wait {round(wait_s) + 1} seconds."
            answer = self._form(request, signer, said, 429)
            answer.headers["retry-after"] = str(round(wait_s) + 1)
            return answer
        session = await self._session(signer, secret)
        if session is None:
            self._attempts.failed(address, now_s)
            return self._form(request, signer, "That is neither the admin token nor a key.", 401)
        answer = RedirectResponse(_own_page(form.get("next", "")), 303)
        _set(request, answer, SESSION_COOKIE, signer.seal(session), LASTS_S)
        answer.delete_cookie(LOGIN_COOKIE, path="/ui")
        return answer

    async def _session(self, signer: Signer, secret: str) -> Session | None:
        token = self._deps.settings().admin_token or ""
        if compare_digest(secret.encode(), token.encode()):
            return signer.session(self._deps.clock_s())
        key = await self._deps.keys.of_secret(secret) if secret else None
        if key is None:
            return None
        now_s = self._deps.clock_s()
        return signer.session(now_s, key_id=key.id, secret_hash=key.sha256)

    def _form(self, request: Request, signer: Signer, problem: str, status: int = 200) -> Response:
        cookie = signer.new_login(self._deps.clock_s())
        answer = render(
            request,
            "login.html",
            status=status,
            form_token=signer.login_token(cookie),
            problem=problem,
            next=_own_page(request.query_params.get("next", "")),
        )
        _set(request, answer, LOGIN_COOKIE, cookie, LOGIN_LASTS_S)
        return answer

    async def logout(self, _request: Request, _sight: Sight) -> Response:
        """End the session in this browser."""
        answer = RedirectResponse("/ui/login", 303)
        answer.delete_cookie(SESSION_COOKIE, path="/ui")
        return answer

    def _signer(self) -> Signer | None:
        token = self._deps.settings().admin_token
        return Signer(token) if token else None


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form: few and short. Nobody has proved yet who they are where the login is read."""
    kept: dict[str, str] | None = getattr(request.state, "form", None)
    if kept is not None:
        return kept
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise Problem(413, "A form of this page is shorter than that.")
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise Problem(400, "That is no form of this page.") from None
    form = request.state.form = dict(fields)
    return form


def _closed(request: Request) -> Response:
    return render(request, "closed.html", status=403)


def _to_login(request: Request) -> Response:
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    target = "/ui/login"
    if request.method == "GET" and wanted != "/ui":
        target += f"?next={quote(wanted)}"
    return RedirectResponse(target, 303)


def _own_page(wanted: str) -> str:
    """Where to go after the login: a page of ours, never another site."""
    parts = urlsplit(wanted)
    ours = wanted.startswith("/ui") and not parts.netloc and "\\" not in wanted
    return wanted if ours and not wanted.startswith("/ui/log") else "/ui"


def _set(request: Request, answer: Response, name: str, value: str, lasts_s: int) -> None:
    answer.set_cookie(
        name,
        value,
        max_age=lasts_s,
        path="/ui",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
