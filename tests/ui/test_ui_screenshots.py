"""The pictures of docs/ui.md are made by a script that still finds its way through the pages."""

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from docs.screenshots import take_all

pytestmark = [
    pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium"),
    pytest.mark.xdist_group("chromium"),
]


def test_every_picture_of_the_page_is_made(tmp_path: Path) -> None:
    """And no other: a picture that no page shows is taken away."""
    page = (Path(__file__).parents[2] / "docs" / "ui.md").read_text()

    with ThreadPoolExecutor(1) as pool:  # a browser's loop may be running in this thread
        pool.submit(take_all, tmp_path, 1_200).result()

    made = {file.name: file.read_bytes()[:8] for file in tmp_path.iterdir()}
    assert set(re.findall(r"\(ui/([a-z-]+\.png)\)", page)) == made.keys()
    assert set(made.values()) == {b"\x89PNG\r\n\x1a\n"}
