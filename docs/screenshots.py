"""Takes the pictures of docs/ui.md anew: ``.venv/bin/python -m docs.screenshots`` (needs chromium).

Each page and state of /ui, over a made-up ledger, in headless Chromium, as PNG with few colours.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

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
    """Take them all."""
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=ARGUMENTS
        )
        with _ledger(CALLS) as site:
            for name, (path, scheme, size, whole) in SHOTS.items():
                with _window(browser, site, scheme, size) as page:
                    page.goto(path)
                    _take(page, name, whole=whole)
            _states(browser, site)
        with _ledger(0) as site, _window(browser, site, "light", WIDE) as page:
            page.goto("/ui")
            _take(page, "empty")
        with _ledger(1) as site, _window(browser, site, "light", WIDE) as page:
            page.goto("/ui/calls?range=90d")
            _take(page, "one-call")
        browser.close()
    total = sum(file.stat().st_size for file in FOLDER.glob("*.png"))
    sys.stdout.write(f"{total / 1e6:.2f} MB in {FOLDER}\n")


def _states(browser: Browser, site: Served) -> None:
    """What comes of doing something: a call opened, a cap reviewed, a login, a team's own view."""
    with _window(browser, site, "dark", WIDE) as page:
        page.goto("/ui/calls?range=90d&upstream=anthropic&outcome=completed")
        page.locator("main tbody tr", has_text="attempts").or_(
            page.locator("main tbody tr")
        ).first.locator("a").first.click()
        page.wait_for_url("**/ui/calls/fb-*")
        _take(page, "call-dark", whole=True)
    with _window(browser, site, "light", WIDE) as page:
        page.goto("/ui/budgets/edit?id=team:support:month")
        page.get_by_label("Limit in US dollars").fill("1")
        page.get_by_role("button", name="Review the change").click()
        page.wait_for_load_state()
        _take(page, "cap-review")
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/ui/login")
        _take(page, "login")
    with _window(browser, site, "light", WIDE, site.secrets["growth-prod"]) as page:
        page.goto("/ui/budgets")
        _take(page, "team-over-budget")


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
    )
    page = context.new_page()
    page.goto("/ui/login")
    page.get_by_label("Admin token or key").fill(secret)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/login" not in url)
    yield page
    context.close()


def _take(page: Page, name: str, *, whole: bool = False) -> None:
    page.screenshot(path=FOLDER / f"{name}.png", full_page=whole)


if __name__ == "__main__":
    main()
