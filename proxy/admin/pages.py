"""``/admin/docs``: the admin API explained, from its own OpenAPI description.

One page of plain HTML, made here: no script, and nothing that another host would have to serve.
"""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse

Schema = Mapping[str, Any]
_POLICY = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
_STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
section { border-top: 1px solid #8884; padding: .5rem 0 1rem }
h2 { font: 600 1rem ui-monospace, monospace }
h2 b { display: inline-block; min-width: 4.5rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .15rem .75rem .15rem 0 }
th { font-weight: 600; opacity: .7 }
code, td:first-child { font-family: ui-monospace, monospace; font-size: .9em }
"""


def routes(app: FastAPI) -> APIRouter:
    """The page about the application."""
    router = APIRouter(include_in_schema=False)

    @router.get("/admin/docs", response_class=HTMLResponse)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page(app.openapi()), headers=_POLICY)

    return router


def page(api: Schema) -> str:
    """The description as HTML."""
    info = api["info"]
    body = "".join(_operations(api))
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8">
<title>{escape(info["title"])}</title><style>{_STYLE}</style></head><body>
<h1>{escape(info["title"])}</h1>
<p>{escape(info.get("summary", ""))} Send the admin token as <code>Authorization: Bearer &lt;token&gt;</code>.
Lists come in pages: <code>{{"items": […], "next_cursor": …}}</code>; ask for the next one with
<code>cursor</code>. The machine-readable description is at <a href="openapi.json">openapi.json</a>.</p>
{body}</body></html>"""


def _operations(api: Schema) -> Iterator[str]:
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            summary = escape(operation.get("description") or operation.get("summary", ""))
            yield (
                f"<section><h2><b>{method.upper()}</b> {escape(path)}</h2><p>{summary}</p>"
                f"{_parameters(operation)}{_body(api, operation)}{_answers(api, operation)}</section>"
            )


def _parameters(operation: Schema) -> str:
    rows = [
        (p["name"], _type(p["schema"]), p.get("description") or p["schema"].get("description", ""))
        for p in operation.get("parameters", ())
    ]
    return _table("Parameters", rows)


def _body(api: Schema, operation: Schema) -> str:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    return _table("Body", _fields(api, content["schema"])) if content else ""


def _answers(api: Schema, operation: Schema) -> str:
    tables = []
    for status, answer in operation["responses"].items():
        content = answer.get("content", {}).get("application/json")
        if content and status.startswith("2"):
            tables.append(_table(f"Answer {status}", _fields(api, content.get("schema", {}))))
    return "".join(tables)


def _fields(api: Schema, schema: Schema) -> list[tuple[str, str, str]]:
    """The fields of an object; of a page, those of its items."""
    schema = _resolved(api, schema)
    properties = schema.get("properties", {})
    if set(properties) == {"items", "next_cursor"}:
        return _fields(api, properties["items"].get("items", {}))
    return [(n, _type(p), p.get("description", "")) for n, p in properties.items()]


def _resolved(api: Schema, schema: Schema) -> Schema:
    if "$ref" not in schema:
        return schema
    found: Schema = api["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    return found


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return " | ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("const") or schema.get("format") or schema.get("type", "anything"))


def _table(title: str, rows: list[tuple[str, str, str]]) -> str:
    if not rows:
        return ""
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr><th>{title}</th><th></th><th></th></tr>{lines}</table>"
