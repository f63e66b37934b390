"""Google's ``:predict``: what is read of a request, and what is billed of an answer."""

from typing import Any

import pytest

from proxy.core.errors import InvalidRequest
from proxy.core.usage import Usage
from proxy.gateway.dialects.base import Address, Patch, RequestFacts, Scan
from proxy.gateway.dialects.vertex_predict import Predict
from proxy.gateway.paths import find_way
from tests.gateway.dialects.chunks import compact
from tests.gateway.dialects.test_media import scanned

PREDICT = Predict("vertex")
PATH = b"/v1/projects/p/locations/europe-west1/publishers/google/models/m:predict"
GECKO = "text-embedding-005"


def facts(model: str, *instances: Any, **parameters: Any) -> RequestFacts:
    body: dict[str, Any] = {"instances": list(instances)}
    if parameters:
        body["parameters"] = parameters
    return PREDICT.inspect(compact(body), Address(PATH, model=model))


def answered(asked: RequestFacts, **answer: Any) -> Scan:
    return scanned(PREDICT, asked, compact(answer), "application/json")


def embedded(tokens: Any) -> dict[str, Any]:
    statistics = {"truncated": False, "token_count": tokens}
    return {"embeddings": {"statistics": statistics, "values": [0.1, -2e-3]}}


@pytest.mark.parametrize(
    ("path", "family"),
    [
        ("/v1/projects/p/locations/l/publishers/google/models/m:predict", "vertex"),
        ("/v1beta1/publishers/google/models/m:predict", "vertex"),
        ("/v1beta/models/m:predict", "gemini"),
    ],
)
def test_where_it_is(path: str, family: str) -> None:
    way = find_way("POST", path.encode(), {})

    assert way is not None
    told = (way.dialect.name, way.dialect.family, way.metered, way.endpoint, way.model)
    assert told == ("vertex_predict", family, True, "predict", "m")


# Embeddings


def test_a_text_is_held_by_its_characters_and_its_bytes() -> None:
    """Characters without white space, as Google bills them; its title counts too."""
    asked = facts(GECKO, {"content": "Grüße an\n alle", "title": "T"}, {"content": "x y"})

    assert asked.beside == Usage(characters=14)
    assert asked.text_bytes == len("Grüße an\n allexyT ".encode())
    assert (asked.unbounded, asked.makes_text, asked.outside) == ((), False, False)
    assert asked.variants == ("regional",)
    assert PREDICT.prompt_text(asked) == "T\nGrüße an\n alle\nx y"


def test_tokens_and_characters_as_the_answer_counts_them() -> None:
    asked = facts(GECKO, {"content": "a b"}, {"content": "c"})
    scan = answered(
        asked,
        predictions=[embedded(4), embedded(3.0)],
        metadata={"billableCharacterCount": 30},
    )

    assert (scan.usage, scan.finished, scan.lacks_input) == (
        Usage(input=7, characters=30),
        True,
        False,
    )


def test_characters_that_the_answer_does_not_count() -> None:
    """As the rule says: of the request."""
    scan = answered(facts("gemini-embedding-001", {"content": "a b"}), predictions=[embedded(3)])

    assert scan.usage == Usage(input=3, characters=2)


@pytest.mark.parametrize("count", [None, -1, "7"])
def test_tokens_that_the_answer_does_not_count_are_counted(count: Any) -> None:
    scan = answered(facts(GECKO, {"content": "a b"}), predictions=[embedded(count)])

    assert (scan.usage, scan.lacks_input) == (Usage(characters=2), True)
    assert scan.flags == ("usage_missing",)


def test_pictures_and_texts_together() -> None:
    """No answer counts them: as many as were sent."""
    picture = {"image": {"bytesBase64Encoded": "aGk="}}
    asked = facts("multimodalembedding@001", {"text": "a cat"} | picture, picture)
    answer = {"predictions": [{"imageEmbedding": [0.1], "textEmbedding": [0.2]}]}
    scan = answered(asked, **answer)

    assert asked.unbounded == ()
    assert asked.beside == scan.counted == Usage(characters=4, images=2)


def test_a_video_is_not_bounded() -> None:
    asked = facts("multimodalembedding@001", {"video": {"gcsUri": "gs://a/b"}})

    assert asked.unbounded == ("video",)
    assert answered(asked, predictions=[{"videoEmbeddings": []}]).flags == ("outside",)


def test_a_picture_has_no_price_for_a_model_of_texts() -> None:
    assert facts(GECKO, {"content": "x", "image": {}}, "x").unbounded == ("image", "instance")


# Imagen


@pytest.mark.parametrize(
    ("parameters", "images"), [({}, 4), ({"sampleCount": 2}, 2), ({"sampleCount": "3"}, 3)]
)
def test_pictures_are_held_by_their_number(parameters: dict[str, Any], images: int) -> None:
    asked = facts("imagen-4.0-generate-001", {"prompt": "a cat"}, **parameters)

    assert (asked.beside, asked.unbounded, asked.text_bytes) == (Usage(images=images), (), 0)
    assert facts("imagen-4.0-generate-001", {}, {}, **parameters).beside.images == 2 * images


def test_pictures_that_were_made_are_billed() -> None:
    """Not those that the filter kept back."""
    asked = facts("imagen-4.0-generate-001", {"prompt": "a cat"}, sampleCount=4)
    scan = answered(
        asked,
        predictions=[
            {"mimeType": "image/png", "bytesBase64Encoded": "aGk="},
            {"mimeType": "image/png", "gcsUri": "gs://a/b.png"},
            {"raiFilteredReason": "no"},
        ],
    )

    assert (scan.usage, scan.counted) == (None, Usage(images=2))
    assert answered(asked, predictions=[]).counted == Usage()


def test_an_answer_that_can_not_be_read_is_what_was_asked_for() -> None:
    asked = facts("imagen-4.0-generate-001", {"prompt": "a cat"})

    assert answered(asked, predictions="?").counted == Usage(images=4)


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances":[],"instances":[{}]}',
        b'{"Instances":[]}',
        b'{"instances":[{}],"parameters":{"sampleCount":1,"sampleCount":8}}',
        b'{"instances":[{}],"parameters":{"sample_count":1}}',
        b'{"instances":[{}],"parameters":{"sampleCount":0}}',
        b'{"instances":{}}',
        b"[]",
    ],
)
def test_what_is_in_doubt_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        PREDICT.inspect(body, Address(PATH, model="imagen-4.0-generate-001"))


# Others


def test_of_other_models_nothing_is_known() -> None:
    asked = facts("lyria-002", {"prompt": "a song"})

    assert (len(asked.unbounded), asked.outside) == (1, True)
    scan = answered(asked, predictions=[{"bytesBase64Encoded": "aGk="}])
    assert (scan.usage, scan.counted, scan.flags) == (None, None, ("outside",))


def test_an_error_is_none_of_it() -> None:
    asked = facts(GECKO, {"content": "x"})
    scan = answered(asked, error={"code": 429, "status": "RESOURCE_EXHAUSTED"})

    assert (scan.usage, scan.counted, scan.error) == (None, None, "429")


def test_the_body_goes_on_as_it_came() -> None:
    body = b'{ "instances": [] }'

    assert PREDICT.patch(body, Patch("other", 7, "x")) is body
