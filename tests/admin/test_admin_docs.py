"""docs/admin-api.md has every route, parameter, field and error."""

import re
from pathlib import Path
from typing import Any

from proxy.admin import problems
from tests.admin.conftest import Admin

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/admin-api.md").read_text()
_FRAMEWORKS_OWN = {"HTTPValidationError", "ValidationError"}


async def description(admin: Admin) -> Any:
    return (await admin.ask("GET", "/admin/openapi.json", token=None)).json()


async def test_every_route_is_documented(admin: Admin) -> None:
    for path, methods in (await description(admin))["paths"].items():
        for method in methods:
            shown = path.replace("{call_id}", "{id}").replace("{name_or_id}", "{name}")
            assert f"{method.upper()} {shown}`" in DOCUMENT


async def test_every_parameter_is_documented(admin: Admin) -> None:
    for methods in (await description(admin))["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "query":
                    assert f"`{parameter['name']}`" in DOCUMENT


async def test_every_field_is_documented(admin: Admin) -> None:
    for name, schema in (await description(admin))["components"]["schemas"].items():
        if name not in _FRAMEWORKS_OWN:
            for field in schema.get("properties", ()):
                assert f"`{field}`" in DOCUMENT or f'"{field}"' in DOCUMENT, (name, field)


def test_every_error_is_documented() -> None:
    sources = (Path(problems.__file__).parent).glob("*.py")
    codes = {
        code
        for source in sources
        for code in re.findall(r'\(\s*(?:\d{3}),\s*"([a-z_]+)"', source.read_text())
    }
    assert len(codes) > 8
    for code in codes:
        assert f"`{code}`" in DOCUMENT
