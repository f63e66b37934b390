"""What an answer of the responses API used, beside the tokens of its model: tools, and their models."""

from collections.abc import Iterator
from typing import Any, Final

from msgspec.structs import replace

from proxy.core.usage import EMPTY, Usage, UsagePart
from proxy.gateway.dialects.base import Scan
from proxy.gateway.dialects.image_tokens import image_usage, tokens_of_call
from proxy.gateway.dialects.notes import note_flag, note_usage
from proxy.gateway.dialects.usage import Json

IMAGE_ESTIMATED: Final = "image_estimated"  # the answer tells the picture, and not its tokens
_IMAGE_MODEL: Final = "gpt-image-1"  # of the tool, where nothing names another
_MOST = 10**6
_SEARCH_VARIANT: Final = "web_search_preview"


def note_response(scan: Scan, response: Json) -> None:
    """Take usage, tools and the parts that are billed at another model's price."""
    if not note_usage(scan, response):
        return
    assert scan.usage is not None  # noqa: S101 - just noted
    tools = _tools(response, scan.usage)
    scan.usage = replace(
        scan.usage,
        searches=tools.searches,
        file_searches=tools.file_searches,
        containers=tools.containers,
    )
    if tools.searches and any(
        str(tool.get("type")).startswith(_SEARCH_VARIANT)
        for tool in _objects(response.get("tools"))
    ):
        scan.variants = (_SEARCH_VARIANT,)
    drawn = _drawn(scan, response)
    if drawn != EMPTY:
        scan.parts = (
            UsagePart("", scan.usage),
            UsagePart(_image_model(response), drawn),
        )
        scan.usage = scan.usage + drawn


def _tools(response: Json, counted: Usage) -> Usage:
    """Searches and sandboxes: as the answer counts them, else by its items."""
    said = response.get("tool_usage")
    usage = response.get("usage")
    by_xai = usage.get("server_side_tool_usage_details") if type(usage) is dict else None
    if type(by_xai) is dict:
        searches = _count(by_xai, "web_search_calls") + _count(by_xai, "x_search_calls")
        files = _count(by_xai, "file_search_calls") + _count(by_xai, "document_search_calls")
        return Usage(
            searches=searches,
            file_searches=files,
            containers=_count(by_xai, "code_interpreter_calls"),
        )
    items = list(_objects(response.get("output")))
    if type(said) is dict and type(said.get("web_search")) is dict:
        searches = _count(said["web_search"], "num_requests")
    else:
        searches = sum(_searched(item) for item in items)
    containers = {
        item.get("container_id") for item in items if item.get("type") == "code_interpreter_call"
    }
    return Usage(
        searches=searches or counted.searches,
        file_searches=sum(item.get("type") == "file_search_call" for item in items),
        containers=len({c for c in containers if type(c) is str}),
    )


def _searched(item: Json) -> bool:
    """Whether an item is a search; opening a page, or looking for something on it, is none."""
    if item.get("type") != "web_search_call":
        return False
    action = item.get("action")
    return type(action) is not dict or action.get("type", "search") == "search"


def _drawn(scan: Scan, response: Json) -> Usage:
    """The tokens of pictures that a tool made: as counted, else by their size and quality."""
    said = response.get("tool_usage")
    if type(said) is dict:
        return image_usage(said.get("image_gen"))
    calls = [
        item
        for item in _objects(response.get("output"))
        if item.get("type") == "image_generation_call" and item.get("result")
    ]
    tokens = sum(tokens_of_call(call) for call in calls)
    if not tokens:
        return EMPTY
    note_flag(scan, IMAGE_ESTIMATED)
    return replace(EMPTY, image_output=tokens)


def _image_model(response: Json) -> str:
    for tool in _objects(response.get("tools")):
        if tool.get("type") == "image_generation" and type(tool.get("model")) is str:
            return str(tool["model"])
    return _IMAGE_MODEL


def _objects(value: Any) -> Iterator[Json]:
    if type(value) is list:
        yield from (item for item in value if type(item) is dict)


def _count(counts: Json, name: str) -> int:
    value = counts.get(name)
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= _MOST else 0
