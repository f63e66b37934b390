"""Who gets in, what a cookie is worth, and that no other site can send our forms."""

import httpx
import pytest

from proxy.ui.attempts import FAILURES
from proxy.ui.session import LASTS_S, Signer
from tests.ui.conftest import NOW_S, TOKEN, Site, settings

PAGES = ("/ui", "/ui/budgets", "/ui/calls", "/ui/models", "/ui/keys")
ADMIN_PAGES = ("/ui/budgets/edit", "/ui/keys/new")


@pytest.mark.parametrize("path", [*PAGES, *ADMIN_PAGES, "/ui/calls/fb-1"])
async def test_no_page_is_shown_to_who_is_not_logged_in(site: Site, path: str) -> None:
    browser = site.browser()
    await browser.get(path, 303)

    assert browser.answer.headers["location"].startswith("/ui/login")


@pytest.mark.parametrize("path", PAGES)
async def test_the_administrator_sees_every_page(site: Site, path: str) -> None:
    browser = await site.admin()

    await browser.get(path)

    assert "Administrator" in browser.text(".who")


async def test_without_an_admin_token_the_page_says_how_to_set_one(site: Site) -> None:
    site.state["settings"] = settings(admin_token="")
    browser = site.browser()

    for path in ("/ui", "/ui/login"):
        await browser.get(path, 403)
        assert "FAREBOX_ADMIN_TOKEN" in browser.text()


async def test_a_wrong_token_is_told_and_lets_nobody_in(site: Site) -> None:
    browser = site.browser()

    await browser.login("wrong", 401)

    assert "neither the admin token nor a key" in browser.text()
    await browser.get("/ui", 303)


async def test_too_many_wrong_tries_have_to_wait_even_with_the_right_token(site: Site) -> None:
    browser = site.browser()
    for _ in range(FAILURES):
        await browser.login("wrong", 401)

    await browser.login(TOKEN, 429)
    assert int(browser.answer.headers["retry-after"]) <= 61

    site.state["now_s"] += 61
    await browser.login(TOKEN, 303)


async def test_the_cookie_is_for_this_site_and_for_no_script(site: Site) -> None:
    browser = site.browser()
    await browser.login()

    cookie = next(
        value for value in browser.answer.headers.get_list("set-cookie") if "session" in value
    )
    assert {"HttpOnly", "SameSite=strict", "Path=/ui"} <= {p.strip() for p in cookie.split(";")}
    assert "Secure" not in cookie
    assert TOKEN not in cookie


async def test_over_https_the_cookie_stays_there(site: Site) -> None:
    browser = site.browser()
    browser.client.base_url = httpx.URL("https://farebox")
    await browser.login()

    assert all("Secure" in cookie for cookie in browser.answer.headers.get_list("set-cookie")[:1])


async def test_a_session_ends_by_itself(site: Site) -> None:
    browser = await site.admin()

    site.state["now_s"] += LASTS_S

    await browser.get("/ui", 303)


async def test_another_admin_token_ends_every_session(site: Site) -> None:
    browser = await site.admin()

    site.state["settings"] = settings(admin_token="another-token-0123456789")

    await browser.get("/ui", 303)


async def test_another_worker_takes_the_same_cookie(site: Site) -> None:
    """Nothing of a session is kept on the server."""
    browser, other = await site.admin(), site.browser()

    other.client.cookies = browser.client.cookies

    await other.get("/ui")


@pytest.mark.parametrize("place", [0, 5, -1])
def test_an_altered_cookie_is_worth_nothing(place: int) -> None:
    signer = Signer(TOKEN)
    cookie = signer.seal(signer.session(NOW_S))
    letters = list(cookie)
    letters[place] = "x" if letters[place] != "x" else "y"

    assert signer.read(cookie, NOW_S) is not None
    assert signer.read("".join(letters), NOW_S) is None
    assert Signer("another").read(cookie, NOW_S) is None


@pytest.mark.parametrize("cookie", ["", "1", "1.", "1..", "2.e30.x", "1.e30.é"])
def test_rubbish_in_the_cookie_is_no_session(cookie: str) -> None:
    assert Signer(TOKEN).read(cookie, NOW_S) is None


async def test_logging_out_forgets_the_cookie(site: Site) -> None:
    browser = await site.admin()
    await browser.get("/ui")

    await browser.send("/ui/logout", 303)

    await browser.get("/ui", 303)


# Forms


@pytest.mark.parametrize("token", ["", "wrong"])
async def test_a_form_without_our_token_does_nothing(site: Site, token: str) -> None:
    browser = await site.admin()

    answer = await browser.client.post(
        "/ui/keys/new", data={"form_token": token, "name": "k", "team": "search"}
    )

    assert answer.status_code == 403
    assert await site.deps.keys.list() == []


async def test_a_form_token_of_another_session_does_nothing(site: Site) -> None:
    browser, other = await site.admin(), await site.admin()
    await other.get("/ui/keys/new")
    browser.page = other.page

    await browser.send("/ui/keys/new", 403, name="k", team="search")


@pytest.mark.parametrize(
    "headers", [{"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}]
)
async def test_a_form_that_another_site_sends_does_nothing(
    site: Site, headers: dict[str, str]
) -> None:
    browser = await site.admin()
    await browser.get("/ui/keys/new")
    browser.client.headers.update(headers)

    await browser.send("/ui/keys/new", 403, name="k", team="search")


async def test_a_login_form_counts_for_the_browser_that_asked_for_it_only(site: Site) -> None:
    browser, other = site.browser(), site.browser()
    await browser.get("/ui/login")
    await other.get("/ui/login")
    other.page = browser.page

    await other.send("/ui/login", 403, secret=TOKEN)


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        ("/ui/calls?team=search", "/ui/calls?team=search"),
        ("https://evil.example", "/ui"),
        ("//evil.example/ui", "/ui"),
        ("/ui\\@evil.example", "/ui"),
        ("/ui/logout", "/ui"),
    ],
)
async def test_after_the_login_comes_the_page_that_was_asked_for_and_never_another_site(
    site: Site, wanted: str, target: str
) -> None:
    browser = site.browser()
    await browser.get("/ui/login")

    await browser.send("/ui/login", 303, secret=TOKEN, next=wanted)

    assert browser.answer.headers["location"] == target


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"a=" + b"x" * 70_000, 413), (b"&".join([b"a=1"] * 60), 400), (b"a=\xff\xfe", 400)],
    ids=["long", "many", "not text"],
)
async def test_what_is_no_form_of_ours_is_not_read_to_its_end(
    site: Site, body: bytes, status: int
) -> None:
    """Before the login, too: nobody fills the memory of a server that holds budgets."""
    browser = site.browser()

    answer = await browser.client.post("/ui/login", content=body)

    assert answer.status_code == status
    assert "<h1>" in answer.text


# What every answer says


@pytest.mark.parametrize("path", ["/ui", "/ui/login", "/ui/nothing", "/ui/static/page.css"])
async def test_every_answer_forbids_what_is_not_from_here(site: Site, path: str) -> None:
    browser = await site.admin()

    answer = await browser.client.get(path)

    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    kept = "immutable" if "static" in path else "no-store"
    assert kept in answer.headers["cache-control"]
