"""Templates, and what every page has in common."""

from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from proxy.ui import words
from proxy.ui.sight import Viewer

THEME_COOKIE = "farebox_theme"
_THEMES = ("light", "dark")
_TYPES = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "mark.svg": "image/svg+xml",
}
STATIC = {name: (files("proxy.ui") / "static" / name).read_bytes() for name in _TYPES}
_VERSIONS = {name: sha256(body).hexdigest()[:12] for name, body in STATIC.items()}


def static_type(name: str) -> str:
    """What a static file is."""
    return _TYPES[name]


def address(path: str, *queries: Mapping[str, object], **query: object) -> str:
    """``/ui`` + path, with what is given and not empty as its query."""
    said = {k: v for each in (*queries, query) for k, v in each.items()}
    given = {k: str(v) for k, v in said.items() if v not in (None, "")}
    return f"/ui{path}" + (f"?{urlencode(given)}" if given else "")


def _static(name: str) -> str:
    return f"/ui/static/{name}?v={_VERSIONS[name]}"


def _flag(text: str) -> Markup:
    """A word as a small label; how it looks follows from it."""
    return Markup('<span class="flag {0}">{1}</span>').format(text, text.replace("_", " "))


_environment = Environment(
    loader=PackageLoader("proxy.ui"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.globals.update(address=address, static=_static, flag=_flag)
_environment.filters.update(
    dollars=words.dollars,
    fine=words.fine,
    exact=words.exact,
    count=words.count,
    short=words.short,
    duration=words.duration,
    when=words.when,
    date_of=words.date_of,
)


def render(
    request: Request,
    template: str,
    *,
    status: int = 200,
    viewer: Viewer | None = None,
    form_token: str = "",
    headers: dict[str, str] | None = None,
    **values: Any,
) -> HTMLResponse:
    """A page. ``viewer`` is who is logged in, None on the pages before that."""
    theme = request.cookies.get(THEME_COOKIE, "")
    html = _environment.get_template(template).render(
        theme=theme if theme in _THEMES else "",
        path=request.url.path,
        viewer=viewer,
        form_token=form_token,
        **values,
    )
    return HTMLResponse(html, status, headers)
