"""Pictures and sound: what is read of a request, and what is billed of an answer."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import InvalidRequest
from proxy.core.usage import Usage
from proxy.gateway.dialects.base import NOWHERE, Patch, RequestFacts, Scan, Scanner, Watch
from proxy.gateway.dialects.form import Form
from proxy.gateway.dialects.images import Images
from proxy.gateway.dialects.speech import Speech
from proxy.gateway.dialects.transcription import Transcription
from tests.gateway.dialects.chunks import compact, cut_every, relayed, words
from tests.gateway.dialects.test_audio_length import wav
from tests.gateway.dialects.test_form import B, field

IMAGES = Images("i", takes_pictures=False)
EDITS = Images("e", takes_pictures=True)
SPEECH = Speech()
HEARD = Transcription("t")
DRAWN = {
    "input_tokens": 50,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
    "output_tokens": 4160,
    "total_tokens": 4210,
}


def picture(**members: Any) -> RequestFacts:
    return IMAGES.inspect(compact({"prompt": "a cat", **members}), NOWHERE)


def speech(**members: Any) -> RequestFacts:
    document = {"model": "tts-1", "input": "Grüße", "voice": "alloy", **members}
    return SPEECH.inspect(compact(document), NOWHERE)


def heard(sound: bytes = wav(96_000), **fields: str) -> RequestFacts:
    fields = {"model": "whisper-1", **fields}
    body = b"".join(
        [
            field("file", sound, '; filename="a"'),
            *(field(n, v.encode()) for n, v in fields.items()),
            b"--X-frontier--",
        ]
    )
    return HEARD.inspect_form(Form(io.BytesIO(body), len(body), B), NOWHERE)


def scanned(dialect: Any, facts: RequestFacts, body: bytes, kind: str, size: int = 50) -> Scan:
    watch = Watch(
        streamed=dialect.streamed(facts, kind),
        strip_usage=False,
        output_cap=None,
        count=words,
        content_type=kind,
    )
    scanner: Scanner = dialect.scanner(facts, watch)
    assert body == relayed(scanner, cut_every(body, size))
    return scanner.scan


def events(*documents: dict[str, Any]) -> bytes:
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (d["type"].encode(), compact(d)) for d in documents
    )


# Pictures


def test_pictures_by_the_piece() -> None:
    """Their price goes by size and quality, as the request says them."""
    facts = picture(model="dall-e-3", n=2, size="1024x1792", quality="hd")

    assert (facts.beside, facts.variants, facts.unbounded, facts.makes_text) == (
        Usage(images=2),
        ("hd", "1024x1792"),
        (),
        False,
    )
    answer = compact({"created": 1, "data": [{"url": "a"}, {"url": "b"}]})
    scan = scanned(IMAGES, facts, answer, "application/json")
    assert (scan.usage, scan.counted, scan.variants) == (None, Usage(images=2), facts.variants)


@pytest.mark.parametrize("write", [int, float])
def test_pictures_by_their_tokens(write: type[float]) -> None:
    """A whole number counts, however it is written."""
    details = {
        name: write(count) for name, count in {"text_tokens": 10, "image_tokens": 40}.items()
    }
    usage = {
        "input_tokens": write(50),
        "input_tokens_details": details,
        "output_tokens": write(4160),
        "total_tokens": write(4210),
    }
    answer = compact({"created": 1, "data": [{"b64_json": "a"}], "usage": usage})
    scan = scanned(IMAGES, picture(model="gpt-image-1"), answer, "application/json")

    assert scan.usage == Usage(input=10, image_input=40, image_output=4160)
    assert scan.flags == ()


def test_the_model_that_is_meant_where_none_is_named() -> None:
    assert picture(quality="standard").model == "dall-e-2"
    assert picture(quality="standard").variants == ()


@pytest.mark.parametrize(
    ("members", "tokens"),
    [
        ({"quality": "low", "size": "1024x1024"}, 272),
        ({"quality": "high", "size": "1024x1536", "n": 2}, 12_480),
        ({"quality": "medium"}, 1584),
        ({}, 6240),
        ({"quality": "auto", "size": "auto"}, 6240),
        ({"quality": "low", "size": "1024x1024", "partial_images": 3}, 572),
    ],
)
def test_the_most_tokens_of_a_picture(members: dict[str, Any], tokens: int) -> None:
    facts = picture(model="gpt-image-1", **members)

    assert (facts.beside, facts.unbounded) == (Usage(image_output=tokens), ())


def test_what_is_not_bounded_is_named() -> None:
    assert picture(model="gpt-image-2").unbounded == ("pictures of gpt-image-2",)
    edit = EDITS.inspect(compact({"model": "gpt-image-1", "prompt": "x"}), NOWHERE)
    assert edit.unbounded == ("image",)


def test_the_tokens_of_pictures() -> None:
    """What is drawn without details is all pictures."""
    body = compact({"created": 1, "data": [{"b64_json": "aGk="}], "usage": DRAWN})
    scan = scanned(IMAGES, picture(model="gpt-image-1"), body, "application/json")

    assert scan.usage == Usage(input=10, image_input=40, image_output=4160)
    assert scan.counted is None


def test_openrouter_writes_them_as_of_a_chat() -> None:
    usage = {
        "prompt_tokens": 1125,
        "completion_tokens": 1120,
        "cost": 0.03388125,
        "completion_tokens_details": {"image_tokens": 1120},
    }
    body = compact({"data": [{"b64_json": "aGk="}], "usage": usage})
    scan = scanned(IMAGES, picture(model="gpt-image-1"), body, "application/json")

    assert (scan.usage, scan.stated_nano) == (Usage(input=1125, image_output=1120), 33_881_250)


def test_xai_states_only_a_cost() -> None:
    body = compact({"data": [{"url": "u"}], "usage": {"cost_in_usd_ticks": 700_000_000}})
    scan = scanned(EDITS, picture(model="grok-imagine-image"), body, "application/json")

    assert (scan.stated_nano, scan.counted) == (70_000_000, Usage(images=1))


@pytest.mark.parametrize("size", [1, 13, 1000])
def test_a_stream_of_pictures(size: int) -> None:
    """Those that are not done have no usage; of several that are, it adds up."""
    body = events(
        {"type": "image_generation.partial_image", "b64_json": "aGk=", "partial_image_index": 0},
        {"type": "image_generation.completed", "b64_json": "aGk=", "usage": DRAWN},
        {"type": "image_generation.completed", "b64_json": "aGk=", "usage": DRAWN},
    )
    facts = picture(model="gpt-image-1", stream=True)
    scan = scanned(IMAGES, facts, body, "text/event-stream", size)

    one = Usage(input=10, image_input=40, image_output=4160)
    assert (scan.usage, scan.finished) == (one + one, True)


def test_a_form_says_the_same() -> None:
    body = b"".join(
        [
            field("image[]", b"png", '; filename="a.png"'),
            field("image[]", b"png", '; filename="b.png"'),
            field("model", b"gpt-image-1"),
            field("prompt", b"a cat"),
            field("n", b"3"),
            field("quality", b"low"),
            field("size", b"1024x1024"),
            b"--X-frontier--\r\n",
        ]
    )
    form = Form(io.BytesIO(body), len(body), B)
    facts = EDITS.inspect_form(form, NOWHERE)

    assert (facts.model, facts.beside.image_output, facts.text_bytes) == ("gpt-image-1", 816, 5)
    assert EDITS.patch_form(form, Patch("m"))[0][2] == b"m"


# Speech


def test_characters_are_what_is_billed() -> None:
    facts = speech()

    assert (facts.beside, facts.unbounded, facts.stream) == (Usage(characters=5), (), False)
    scan = scanned(SPEECH, facts, b"\xff\xfb" * 99, "audio/mpeg")
    assert (scan.usage, scan.counted, scan.finished) == (None, Usage(characters=5), True)


def test_tokens_of_speech_by_its_length() -> None:
    """The answer counts nothing: three seconds of sound are 62.5 tokens."""
    facts = speech(model="gpt-4o-mini-tts", instructions="slowly please")

    assert facts.unbounded == ("length of the speech",)
    scan = scanned(SPEECH, facts, wav(96_000), "audio/wav")
    assert scan.counted == Usage(input=3, audio_output=63)
    assert "audio_estimated" in scan.flags


def test_events_of_speech_have_its_usage() -> None:
    body = events(
        {"type": "speech.audio.delta", "audio": "aGk="},
        {"type": "speech.audio.done", "usage": {"input_tokens": 14, "output_tokens": 101}},
    )
    facts = speech(model="gpt-4o-mini-tts", stream_format="sse")
    scan = scanned(SPEECH, facts, body, "text/event-stream", 7)

    assert (facts.stream, scan.finished) == (True, True)
    assert scan.usage == Usage(input=14, audio_output=101)


def test_an_error_of_speech_is_told() -> None:
    body = b'{"error":{"code":"invalid_voice"}}'

    assert scanned(SPEECH, speech(), body, "application/json").error == "invalid_voice"
    with pytest.raises(InvalidRequest):
        SPEECH.inspect(b'{"model":"tts-1"}', NOWHERE)


# Transcripts


def test_a_files_own_length_bounds_it() -> None:
    facts = heard()

    assert (facts.beside, facts.unbounded) == (Usage(milliseconds=3000), ())
    assert heard(b"no sound").unbounded == ("audio of unknown length",)
    tokens = heard(model="gpt-4o-transcribe").beside
    assert (tokens.audio_input, tokens.output) == (60, 16_384)


def test_the_duration_that_is_reported() -> None:
    body = compact({"text": "one two", "usage": {"type": "duration", "seconds": 7}})

    assert scanned(HEARD, heard(), body, "application/json").usage == Usage(milliseconds=7000)


def test_the_tokens_that_are_reported() -> None:
    usage = {
        "type": "tokens",
        "input_tokens": 14,
        "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
        "output_tokens": 101,
        "total_tokens": 115,
    }
    facts = heard(model="gpt-4o-transcribe")
    plain = scanned(HEARD, facts, compact({"text": "x", "usage": usage}), "application/json")
    streamed = scanned(
        HEARD,
        facts,
        events(
            {"type": "transcript.text.delta", "delta": "x"},
            {"type": "transcript.text.done", "text": "x", "usage": usage},
        ),
        "text/event-stream",
        9,
    )

    assert plain.usage == streamed.usage == Usage(input=4, audio_input=10, output=101)
    assert streamed.finished


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"one two three", "text/plain"),
        (b'{"text":"one two three"}', "application/json"),
    ],
)
def test_without_a_report_the_file_is_measured(body: bytes, kind: str) -> None:
    assert scanned(HEARD, heard(), body, kind).counted == Usage(milliseconds=3000)
    tokens = scanned(HEARD, heard(model="gpt-4o-transcribe"), body, kind)
    assert tokens.counted == Usage(audio_input=30, output=3)
    assert tokens.finished
    assert "audio_length_estimated" in scanned(HEARD, heard(b"none"), body, kind).flags


def test_a_verbose_answers_duration_goes_before_the_files() -> None:
    body = compact({"task": "transcribe", "duration": 8.47, "text": "x"})

    assert scanned(HEARD, heard(), body, "application/json").counted == Usage(milliseconds=8000)


def test_a_transcript_takes_a_form_only() -> None:
    with pytest.raises(InvalidRequest):
        HEARD.inspect(b"{}", NOWHERE)


@given(
    st.sampled_from([(IMAGES, picture()), (SPEECH, speech()), (HEARD, heard())]),
    st.sampled_from(["application/json", "text/event-stream", "text/plain", "audio/mpeg"]),
    st.binary(max_size=300),
    st.integers(1, 50),
)
def test_any_bytes_pass_unchanged(
    asked: tuple[Any, RequestFacts], kind: str, body: bytes, size: int
) -> None:
    scanned(*asked, body, kind, size)
