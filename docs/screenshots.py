"""Takes the pictures of docs/ui.md anew: ``.venv/bin/python -m docs.screenshots`` (needs chromium).

Each page and state of /ui, over a made-up ledger, in headless Chromium, as PNG with few colours. Farebox
believes that it is late in a month, whenever the pictures are taken: a month that has just begun shows nothing.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from playwright.sync_api import Browser, Page, StorageState, sync_playwright

from tests.ui.served import TOKEN, Served, served

FOLDER = Path(__file__).parent / "ui"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]
WIDE, NARROW = (1280, 800), (390, 844)
CALLS = 60_000

# name → path, light or dark, size of the window, whether all of the page is taken
SHOTS: dict[str, tuple[str, str, tuple[int, int], bool]] = {
    "overview": ("/ui?range=90d", "light", WIDE, True),
    "overview-dark": ("/ui?by=model", "dark", WIDE, True),
    "overview-narrow": ("/ui", "light", NARROW, False),
    "budgets": ("/ui/budgets", "light", WIDE, True),
    "calls": ("/ui/calls?range=30d&workflow=coding-agent", "light", WIDE, False),
    "models": ("/ui/models", "dark", WIDE, True),
    "keys": ("/ui/keys", "light", WIDE, False),
}


def main() -> None:
    """Take them all, over a ledger that looks like something."""
    take_all(FOLDER, CALLS)
    total = sum(file.stat().st_size for file in FOLDER.glob("*.png"))
    sys.stdout.write(f"{total / 1e6:.2f} MB in {FOLDER}\n")


def take_all(folder: Path, calls: int) -> None:
    """Each page and state, over so many calls."""
    folder.mkdir(exist_ok=True)
    with _late_in_a_month(), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=ARGUMENTS
        )
        with _ledger(calls) as site:
            for name, (path, scheme, size, whole) in SHOTS.items():
                with _window(browser, site, scheme, size) as page:
                    page.goto(path)
                    _take(page, folder, name, whole=whole)
            _states(browser, site, folder)
        with _ledger(0) as site, _window(browser, site, "light", WIDE) as page:
            page.goto("/ui")
            _take(page, folder, "empty")
        with _ledger(1) as site, _window(browser, site, "light", WIDE) as page:
            page.goto("/ui/calls?range=90d")
            _take(page, folder, "one-call")
        browser.close()


def _states(browser: Browser, site: Served, folder: Path) -> None:
    """What comes of doing something: a call opened, a cap reviewed, a login, a team's own view."""
    with _window(browser, site, "dark", WIDE) as page:
        page.goto("/ui/calls?range=90d&upstream=anthropic&outcome=completed")
        page.locator("main tbody tr", has_text="attempts").or_(
            page.locator("main tbody tr")
        ).first.locator("a").first.click()
        page.wait_for_url("**/ui/calls/fb-*")
        _take(page, folder, "call-dark", whole=True)
    with _window(browser, site, "light", WIDE) as page:
        page.goto("/ui/budgets/edit?id=team:support:month")
        page.get_by_label("Limit in US dollars").fill("1")
        page.get_by_role("button", name="Review the change").click()
        page.wait_for_load_state()
        _take(page, folder, "cap-review")
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/ui/login")
        _take(page, folder, "login")
    with _window(browser, site, "light", WIDE, site.secrets["growth-prod"]) as page:
        page.goto("/ui/budgets")
        _take(page, folder, "team-over-budget")


@contextmanager
def _late_in_a_month() -> Iterator[None]:
    """The last 24th, at three."""
    now = datetime.now(UTC)
    then = now.replace(day=24, hour=15, minute=0)
    if then > now:
        then = (now.replace(day=1) - timedelta(days=1)).replace(day=24, hour=15, minute=0)
    clocks, behind_s = (time.time, time.time_ns), round((now - then).total_seconds())
    time.time = lambda: clocks[0]() - behind_s
    time.time_ns = lambda: clocks[1]() - behind_s * 1_000_000_000
    try:
        yield
    finally:
        time.time, time.time_ns = clocks


@contextmanager
def _ledger(calls: int) -> Iterator[Served]:
    with tempfile.TemporaryDirectory() as folder, served(Path(folder), calls, days=90) as site:
        yield site


@contextmanager
def _window(
    browser: Browser, site: Served, scheme: str, size: tuple[int, int], secret: str = TOKEN
) -> Iterator[Page]:
    context = browser.new_context(
        base_url=site.url,
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": size[0], "height": size[1]},
        storage_state=_logged_in(browser, site.url, secret),
    )
    yield context.new_page()
    context.close()


@cache
def _logged_in(browser: Browser, url: str, secret: str) -> StorageState:
    """The cookies of a session: one login for all windows."""
    context = browser.new_context(base_url=url)
    page = context.new_page()
    page.goto("/ui/login")
    page.get_by_label("Admin token or key").fill(secret)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/login" not in url)
    state = context.storage_state()
    context.close()
    return state


def _take(page: Page, folder: Path, name: str, *, whole: bool = False) -> None:
    page.screenshot(path=folder / f"{name}.png", full_page=whole)


if __name__ == "__main__":
    main()
