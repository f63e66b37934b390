"""What a server loads."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "name", ["rich", "pygments", "httpx", "alembic", "asyncpg", "fastapi", "botocore", "tiktoken"]
)
def test_a_server_starts_without(name: str) -> None:
    """Each costs megabytes and a part of the start, and is loaded by what needs it."""
    code = f"import proxy.app, sys; print({name!r} in sys.modules)"

    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert said.stdout.strip() == "False"


def test_rich_can_be_had_afterwards() -> None:
    """Only structlog goes without it."""
    code = (
        "import proxy.app, rich.table, structlog; print(rich.table.Table, structlog.get_logger())"
    )

    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
