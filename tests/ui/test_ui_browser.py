"""The page in a real browser: what people do, with the mouse and with keys, and who can't see it well.

Debian's Chromium drives it; where there is none, these tests are skipped.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import html5lib
import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from tests.ui.served import TOKEN, Served, served

CHROMIUM = shutil.which("chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATHS = {
    "overview": "/ui",
    "overview by model": "/ui?by=model&range=7d",
    "hours": "/ui?range=24h",
    "budgets": "/ui/budgets",
    "new budget": "/ui/budgets/edit",
    "change budget": "/ui/budgets/edit?id=team:search:month",
    "calls": "/ui/calls",
    "no calls": "/ui/calls?user=nobody",
    "models": "/ui/models",
    "keys": "/ui/keys",
    "new key": "/ui/keys/new",
    "missing": "/ui/nothing",
}
# Chromium's advice on passwords, and its word on a page that we ask for because it is missing.
_HARMLESS = (
    "[DOM] Password forms",
    "Failed to load resource: the server responded with a status of",
)

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
    pytest.mark.xdist_group("chromium"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Farebox over forty days of made-up calls."""
    with served(tmp_path_factory.mktemp("ui"), 3000) as it:
        yield it


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS])
        yield browser
        browser.close()


def open_page(chromium: Browser, site: Served, **options: object) -> Iterator[Page]:
    """A new browser window; fails where a page says an error, or asks another host for anything."""
    said: list[str] = []
    options["reduced_motion"] = "reduce"  # a colour half-way between two themes is nobody's fault
    context = chromium.new_context(base_url=site.url, **options)  # type: ignore[arg-type] # playwright has no name for them
    context.set_default_timeout(15_000)
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda r: said.append(r.url) if not r.url.startswith(site.url) else None)
    yield page
    context.close()
    assert [text for text in said if not text.startswith(_HARMLESS)] == []


@pytest.fixture
def page(chromium: Browser, site: Served) -> Iterator[Page]:
    """A window in which nobody is logged in."""
    yield from open_page(chromium, site)


@pytest.fixture
def admin(page: Page) -> Page:
    """A window in which the administrator is logged in."""
    log_in(page)
    return page


def log_in(page: Page, secret: str = TOKEN) -> None:
    """Type the secret, and press Enter."""
    page.goto("/ui/login")
    page.get_by_label("Admin token or key").fill(secret)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/login" not in url)


def test_a_wrong_token_is_told_and_the_right_one_opens_the_page_that_was_asked_for(
    page: Page,
) -> None:
    page.goto("/ui/models?range=7d")
    page.get_by_label("Admin token or key").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("neither the admin token nor a key")

    page.goto("/ui/models?range=7d")
    page.get_by_label("Admin token or key").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()

    expect(page).to_have_url("/ui/models?range=7d")
    expect(page.get_by_role("heading", level=1)).to_have_text("Models")


def test_calls_are_filtered_and_the_address_has_what_is_filled_in_only(admin: Page) -> None:
    admin.goto("/ui/calls")
    admin.get_by_label("Workflow").fill("reply-draft")
    admin.get_by_label("Time (UTC)").select_option("30d")
    admin.get_by_role("button", name="Filter").click()

    expect(admin).to_have_url("/ui/calls?range=30d&workflow=reply-draft")
    cells = admin.locator("main tbody tr td:nth-child(4)").all_inner_texts()
    assert cells
    assert set(cells) == {"reply-draft"}


def test_a_call_opens_with_its_charge_and_its_times(admin: Page) -> None:
    admin.goto("/ui/calls?outcome=completed&model=gpt-4o&range=30d")
    admin.locator("main tbody a").first.click()

    expect(admin.get_by_role("heading", level=1)).to_contain_text("gpt-4o")
    expect(admin.locator("table.charge tfoot")).to_contain_text("Charged, rounded once")
    assert admin.locator("svg.fall rect").count() >= 3


def test_a_cap_is_set_after_it_was_shown_what_it_means(admin: Page) -> None:
    admin.goto("/ui/budgets")
    admin.get_by_role("link", name="Change the budget team:search:month").click()
    admin.get_by_label("Limit in US dollars").fill("4321.50")
    admin.get_by_role("button", name="Review the change").click()
    expect(admin.locator(".change")).to_contain_text("$4,321.50")
    admin.get_by_role("button", name="Change it").click()

    expect(admin.get_by_role("status")).to_contain_text("in force")
    expect(admin.locator("table.budgets").first).to_contain_text("$4,321.50")
    expect(admin.locator("#changes + .scroll")).to_contain_text("$4,321.50")


def test_a_teams_key_sees_its_team_and_changes_nothing(page: Page, site: Served) -> None:
    log_in(page, site.secrets["growth-prod"])

    expect(page.locator(".who")).to_contain_text("growth")
    page.goto("/ui/budgets")
    assert page.locator("main tbody th[scope=rowgroup]").count() == 1
    assert page.get_by_role("link", name="Change the budget").count() == 0


def test_everything_can_be_done_with_keys(admin: Page) -> None:
    """The first tab stop skips the navigation; g and a letter go to a page, / to the first filter."""
    admin.goto("/ui")
    admin.keyboard.press("Tab")
    expect(admin.get_by_role("link", name="Skip to the content")).to_be_focused()
    admin.keyboard.press("Enter")
    expect(admin.locator("#main")).to_be_focused()

    admin.keyboard.press("g")
    admin.keyboard.press("c")
    expect(admin).to_have_url("/ui/calls")
    admin.keyboard.press("/")
    expect(admin.get_by_label("Team")).to_be_focused()
    admin.keyboard.type("search")
    admin.keyboard.press("Enter")

    expect(admin).to_have_url("/ui/calls?range=7d&team=search")


def test_the_theme_follows_the_system_until_it_is_switched_and_then_stays(
    chromium: Browser, site: Served
) -> None:
    for page in open_page(chromium, site, color_scheme="dark"):
        log_in(page)
        ground = "getComputedStyle(document.body).backgroundColor"
        dark = page.evaluate(ground)
        page.get_by_role("button", name="Light").click()
        light = page.evaluate(ground)
        page.goto("/ui/keys")

        assert dark != light
        assert page.evaluate(ground) == light
        assert page.locator("html").get_attribute("data-theme") == "light"


def test_a_bar_tells_its_day_under_the_pointer(admin: Page) -> None:
    admin.goto("/ui?range=7d")
    admin.locator(".plot .col .hit").nth(3).hover(force=True)

    expect(admin.locator(".tip")).to_contain_text("$")


@pytest.fixture(scope="module")
def tour(chromium: Browser, site: Served) -> Iterator[Page]:
    """One window in which the administrator looks at every page."""
    for page in open_page(chromium, site, color_scheme="light"):
        page.goto("/ui/login")
        assert violations(page) == []
        log_in(page)
        yield page


@pytest.mark.parametrize("name", [*PATHS, "call"])
def test_every_page_is_accessible_in_both_themes_and_fits_a_telephone(
    tour: Page, name: str
) -> None:
    """By the rules of axe; no page is wider than its window, what is wide in it scrolls by itself."""
    tour.set_viewport_size(WIDE)
    tour.goto(PATHS.get(name, "/ui/calls"))
    if name == "call":
        tour.locator("main tbody a").first.click()
        expect(tour.get_by_role("heading", name="Where the time went")).to_be_visible()

    assert violations(tour) == []
    assert tour.evaluate(WIDTH) <= WIDE["width"]
    tour.emulate_media(color_scheme="dark")
    assert violations(tour, "color-contrast") == []
    tour.set_viewport_size(NARROW)
    assert tour.evaluate(WIDTH) <= NARROW["width"]
    tour.emulate_media(color_scheme="light")


WIDE: ViewportSize = {"width": 1280, "height": 800}
NARROW: ViewportSize = {"width": 390, "height": 800}
WIDTH = "document.documentElement.scrollWidth"


def violations(page: Page, rule: str | None = None) -> list[str]:
    """What axe finds on the page that is open, by all of its rules or by one."""
    options: dict[str, object] = {"resultTypes": ["violations"]}
    if rule is not None:
        options["runOnly"] = [rule]
    found = Axe().run(page, options=options).response["violations"]
    return [f"{v['id']}: {node['html'][:120]}" for v in found for node in v["nodes"]]


def test_every_page_is_valid_html(site: Served, tmp_path: Path) -> None:
    """A strict parser finds no error; nothing is styled or scripted inline."""
    with httpx.Client(base_url=site.url, follow_redirects=True) as client:
        pages = {"login": client.get("/ui/login").text}
        token = pages["login"].split('name="form_token" value="')[1].split('"')[0]
        client.post("/ui/login", data={"form_token": token, "secret": TOKEN})
        pages |= {name: client.get(path).text for name, path in PATHS.items()}
        call = pages["calls"].split('href="/ui/calls/')[1].split('"')[0]
        pages["call"] = client.get(f"/ui/calls/{call}").text

    for name, text in pages.items():
        (tmp_path / f"{name}.html").write_text(text)  # to be looked at where it fails
        html5lib.HTMLParser(strict=True).parse(text)
        assert " style=" not in text
        assert "<style" not in text
        assert " onclick" not in text
        assert text.count("<script") == text.count("<script src=") == 1
