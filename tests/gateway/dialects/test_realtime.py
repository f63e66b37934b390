"""What events of a realtime session say, and that nothing a side sends is an error here."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.usage import Usage
from proxy.gateway.dialects.base import Scan
from proxy.gateway.dialects.realtime import (
    ClientEvent,
    note_response,
    note_transcription,
    part_of,
    read_client,
    read_server,
    text_of,
    transcriber,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
KINDS = st.sampled_from(
    ["response.create", "session.update", "response.done", "response.created", "error"]
)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"type": "response.create"}, ClientEvent("response.create")),
        (
            {"type": "response.create", "response": {"conversation": "auto"}},
            ClientEvent("response.create"),
        ),
        (
            {"type": "response.create", "response": {"conversation": "none"}},
            ClientEvent("response.create", beside=True),
        ),
        (
            {"type": "session.update", "session": {"input_audio_transcription": None}},
            ClientEvent("session.update", transcribe=""),
        ),
        ({"type": "session.update", "session": {}}, ClientEvent("session.update")),
        ({"type": 7}, ClientEvent()),
    ],
)
def test_what_a_client_asks_for(event: Any, expected: ClientEvent) -> None:
    """In text, and in bytes."""
    text = json.dumps(event)

    assert expected == read_client(text) == read_client(text.encode())


def test_the_model_that_transcribes_stands_in_two_places() -> None:
    first = {"input_audio_transcription": {"model": "whisper-1"}}
    second = {"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}

    assert [transcriber(s) for s in (first, second, {}, None)] == [
        "whisper-1",
        "gpt-4o-transcribe",
        None,
        None,
    ]


@given(st.text() | st.binary() | JSON.map(json.dumps), KINDS, JSON)
def test_no_frame_is_an_error(frame: str | bytes, kind: str, value: Any) -> None:
    members = ("response", "session", "usage", "delta", "item_id", "transcript", "response_id")
    event = json.dumps({"type": kind} | dict.fromkeys(members, value))
    for written in (frame, event, event.encode()):
        read_client(written)
        heard = read_server(written)
        text_of(heard.delta)
        transcriber(part_of(heard.session))
        note_response(Scan(), part_of(heard.response))
        note_transcription(Scan(), part_of(heard.usage))


def test_usage_of_sound_and_text_in_disjoint_buckets() -> None:
    scan = Scan()
    details = {
        "text_tokens": 300,
        "audio_tokens": 600,
        "image_tokens": 100,
        "cached_tokens": 500,
        "cached_tokens_details": {"text_tokens": 150, "audio_tokens": 300, "image_tokens": 50},
    }
    usage = {
        "total_tokens": 1250,
        "input_tokens": 1000,
        "output_tokens": 250,
        "input_token_details": details,
        "output_token_details": {"text_tokens": 50, "audio_tokens": 200},
    }
    note_response(scan, {"id": "resp_1", "status": "completed", "usage": usage})

    assert scan.usage == Usage(
        input=150,
        cached_input=150,
        audio_input=300,
        cached_audio_input=300,
        image_input=50,
        cached_image_input=50,
        output=50,
        audio_output=200,
    )


def test_a_response_that_failed_before_it_used_anything_is_free() -> None:
    scan = Scan()
    failed = {"error": {"type": "invalid_request_error", "code": "rate_limit_exceeded"}}
    note_response(scan, {"id": "r", "status": "failed", "status_details": failed, "usage": None})

    assert (scan.error, scan.usage, scan.finished) == ("rate_limit_exceeded", None, True)
