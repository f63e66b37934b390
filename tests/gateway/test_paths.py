"""Where a request goes by its path."""

import pytest

from proxy.core.errors import NotFound
from proxy.gateway.paths import check_path, find_way


@pytest.mark.parametrize(
    "path",
    [b"/v1/chat/completions", b"/openai/v1/chat/completions", b"/models/chat/completions"],
)
def test_chat_completions_are_metered_wherever_they_are_spoken(path: bytes) -> None:
    way = find_way("POST", path, {})

    assert way is not None
    assert (way.dialect.name, way.endpoint, way.metered, way.model) == (
        "openai_chat",
        "chat.completions",
        True,
        "",
    )


def test_a_path_may_name_the_model() -> None:
    """Unescaped for the router, and with its place, so that another name can be written there."""
    path = b"/openai/deployments/my%2Fmodel/chat/completions"
    way = find_way("POST", path, {})

    assert way is not None
    assert way.model_span is not None
    assert (way.model, path[slice(*way.model_span)]) == ("my/model", b"my%2Fmodel")


def test_what_has_no_route_is_passed_through() -> None:
    """With what is known of its endpoint, in a label of which there are few."""
    labels = {
        b"/v1/files/file-1": "files",
        b"/v1/chat/completions/chatcmpl-1": "chat.completions",
        b"/v1/nobody/knows": "other",
        b"/openai/deployments": "other",
    }
    for path, label in labels.items():
        way = find_way("GET", path, {})
        assert way is not None
        assert (way.metered, way.endpoint) == (False, label)


def test_nothing_is_at_other_paths() -> None:
    assert find_way("POST", b"/v3/chat/completions", {}) is None


@pytest.mark.parametrize(
    ("path", "goes_on"),
    [
        (b"//openai/deployments/d/chat/completions", b"/openai/deployments/d/chat/completions"),
        (b"//v1/chat/completions", b"/chat/completions"),
    ],
)
def test_one_slash_too_many_in_front_is_forgiven(path: bytes, goes_on: bytes) -> None:
    """As base URLs with a slash at their end make it. It does not go on."""
    check_path(path)
    way = find_way("POST", path, {})

    assert way is not None
    assert (way.metered, path[way.holds :]) == (True, goes_on)


@pytest.mark.parametrize(
    "path",
    [
        b"/v1//chat/completions",
        b"/v1/Chat/completions",
        b"/v1/chat/%63ompletions",
        b"/v1/chat/completions/",
        b"/openai/deployments/gpt-4o/chat//completions",
        b"/OpenAI/v1/chat/completions",
        b"/v1/files/../chat/completions",
    ],
)
def test_a_path_that_another_server_could_read_as_a_metered_one_is_refused(path: bytes) -> None:
    with pytest.raises(NotFound):
        check_path(path)


def test_a_metered_path_is_taken_as_it_is() -> None:
    check_path(b"/openai/deployments/a..b/chat/completions")


@pytest.mark.parametrize("file", [b"..", b"..%2f..%2fadmin", b"%2e%2e", b"a%2f.%2fb"])
def test_a_segment_that_may_be_anything_leads_nowhere_else(file: bytes) -> None:
    with pytest.raises(NotFound):
        check_path(b"/v1/files/" + file + b"/content")

    check_path(b"/v1/files/file-1/content")
