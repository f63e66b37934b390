"""OpenAI's responses API: what is read of a request, and what is written into it."""

from typing import Any, Final

import pytest
from hypothesis import given

from proxy.core.errors import InvalidRequest
from proxy.gateway.dialects.base import NOWHERE, Address, Patch, RequestFacts
from proxy.gateway.dialects.responses import Responses
from proxy.gateway.paths import find_way
from tests.gateway.dialects.chunks import compact
from tests.gateway.dialects.documents import misplaced

RESPONSES = Responses()


def inspected(**members: Any) -> RequestFacts:
    document = {"model": "gpt-5", "input": "Hello", **members}
    return RESPONSES.inspect(compact(document), NOWHERE)


def test_what_is_read() -> None:
    facts = inspected(
        stream=True,
        max_output_tokens=100,
        service_tier="flex",
        user="ada",
        metadata={"workflow": "w"},
        tools=[{"type": "function", "name": "f"}],
    )

    assert (
        facts.model,
        facts.stream,
        facts.output_limit,
        facts.service_tier,
        facts.user,
        facts.metadata,
        facts.has_tools,
        facts.unbounded,
    ) == ("gpt-5", True, 100, "flex", "ada", {"workflow": "w"}, True, ())


@pytest.mark.parametrize(
    ("members", "reasons"),
    [
        ({"previous_response_id": "resp_0"}, ("previous_response_id",)),
        ({"conversation": {"id": "conv_1"}}, ("conversation",)),
        ({"prompt": {"id": "pmpt_1"}}, ("prompt",)),
        ({"tools": [{"type": "web_search"}]}, ("server tool web_search",)),
        ({"tools": [{"type": "mcp"}, {"type": "mcp"}]}, ("server tool mcp",)),
        ({"tools": [{"type": "custom", "name": "f"}]}, ()),
        ({"input": [{"role": "user", "content": "Hello"}]}, ()),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            ("input_image",),
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
            ("input_file",),
        ),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, ("item_reference",)),
        ({"input": [{"id": "msg_1"}]}, ("item_reference",)),
        (
            {
                "input": [
                    {
                        "type": "function_call_output",
                        "call_id": "c",
                        "output": [{"type": "input_image", "file_id": "f"}],
                    }
                ]
            },
            ("input_image",),
        ),
        ({"model": "o3-deep-research"}, ("model o3-deep-research",)),
        ({"previous_response_id": None, "tools": []}, ()),
    ],
)
def test_what_the_body_does_not_bound_is_named(
    members: dict[str, Any], reasons: tuple[str, ...]
) -> None:
    assert reasons == inspected(**members).unbounded


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"input":"x"}', "model"),
        (b'{"input":"x","prompt":{"id":"p"}}', "model"),
        (b'{"model":"m","model":"n","input":"x"}', "model"),
        (b'{"model":"m","Max_Output_Tokens":9,"input":"x"}', "max_output_tokens"),
        (b'{"model":"m","max_output_tokens":0,"input":"x"}', "max_output_tokens"),
        (b'{"model":"m","background":"yes","input":"x"}', "background"),
        (b'{"model":"m","stream":1,"input":"x"}', "stream"),
    ],
)
def test_what_is_in_doubt_is_refused(body: bytes, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        RESPONSES.inspect(body, NOWHERE)
    assert param == refused.value.param


def test_the_path_names_the_model_at_azure() -> None:
    assert RESPONSES.inspect(b'{"input":"x"}', Address(b"", model="mine")).model == "mine"


@pytest.mark.parametrize(
    ("body", "patch", "after"),
    [
        (b'{"model": "a"}', Patch("b"), b'{"model": "b"}'),
        (b'{"model":"a"}', Patch(output_cap=5), b'{"model":"a","max_output_tokens":5}'),
        (b'{"max_output_tokens":9}', Patch(output_cap=5), b'{"max_output_tokens":5}'),
        (b'{"max_output_tokens":4}', Patch(output_cap=5), b'{"max_output_tokens":4}'),
        (b'{"max_output_tokens":null}', Patch(output_cap=5), b'{"max_output_tokens":5}'),
        (b'{"model":"a"}', Patch(), b'{"model":"a"}'),
    ],
)
def test_a_patch_changes_nothing_else(body: bytes, patch: Patch, after: bytes) -> None:
    assert after == RESPONSES.patch(body, patch)


def test_compacting_takes_no_limit() -> None:
    compacting = Responses("c", limited=False)

    assert compacting.patch(b'{"model":"a"}', Patch(output_cap=5)) == b'{"model":"a"}'
    facts = compacting.inspect(b'{"model":"a","input":"x"}', NOWHERE)
    assert (facts.output_limit, facts.unbounded) == (None, ("no output limit",))


@pytest.mark.parametrize(
    "path",
    [
        b"/v1/responses",
        b"/openai/v1/responses",
        b"/openai/responses",
        b"/openai/deployments/mine/responses",
    ],
)
def test_where_it_is_spoken(path: bytes) -> None:
    way = find_way("POST", path, {})

    assert way is not None
    assert (way.endpoint, way.metered) == ("responses", True)


def test_counting_tokens_is_free() -> None:
    way = find_way("POST", b"/v1/responses/input_tokens", {})

    assert way is not None
    assert (way.endpoint, way.metered) == ("responses.input_tokens", False)
    assert way.dialect.inspect(b'{"model":"gpt-5"}', NOWHERE).model == "gpt-5"


_ODD: Final = misplaced("type", "text", "content", "input_text", "output", "tools", "parameters")


@given(_ODD, _ODD)
def test_any_request_is_read_or_refused(given_input: Any, tools: Any) -> None:
    try:
        facts = inspected(input=given_input, tools=tools)
    except InvalidRequest:
        return
    RESPONSES.prompt_text(facts)
