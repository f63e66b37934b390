"""Mistral's OCR: pages, as the answer counts them."""

import json
from typing import Any

import pytest
from hypothesis import given

from proxy.core.errors import InvalidRequest
from proxy.core.usage import EMPTY, Usage
from proxy.gateway.dialects.base import NOWHERE, Patch, RequestFacts, Scan, Watch
from proxy.gateway.dialects.ocr import Ocr
from tests.gateway.dialects.chunks import compact
from tests.gateway.dialects.documents import documents

OCR = Ocr()
WATCH = Watch(streamed=False, strip_usage=False, output_cap=None, count=len)


def facts(**members: Any) -> RequestFacts:
    document = {"type": "document_url", "document_url": "https://example.com/a.pdf"}
    return OCR.inspect(
        compact({"model": "mistral-ocr-latest", "document": document} | members), NOWHERE
    )


def scan(answer: dict[str, Any], **members: Any) -> Scan:
    scanner = OCR.scanner(facts(**members), WATCH)
    body = compact(answer)
    assert scanner.feed(body) + scanner.finish() == body
    return scanner.scan


def test_the_pages_that_are_asked_for_are_its_bound() -> None:
    """Nobody knows how many there are otherwise."""
    assert facts(pages=[0, 2, 5]).beside == Usage(pages=3)
    assert facts(pages=[0, 2, 5]).unbounded == ()
    untold: list[Any] = [None, [], "0-3"]
    assert [facts(pages=p).unbounded for p in untold] == [("pages of a document",)] * 3


@pytest.mark.parametrize("name", ["bbox_annotation_format", "document_annotation_format"])
def test_annotated_pages_have_their_own_price(name: str) -> None:
    asked = {name: {"type": "json_schema"}}

    assert facts(**asked).variants == ("annotated",)
    assert scan({"usage_info": {"pages_processed": 1}}, **asked).variants == ("annotated",)
    assert facts(**{name: None}).variants == ()


def test_the_pages_that_were_read_are_billed() -> None:
    told = {"pages_processed": 29, "doc_size_bytes": 3_002_783}
    found = scan({"pages": [], "model": "mistral-ocr-2505-completion", "usage_info": told})

    assert (found.usage, found.finished) == (Usage(pages=29), True)
    assert found.served_model == "mistral-ocr-2505-completion"
    assert json.loads(found.usage_raw) == told


def test_an_answer_that_does_not_tell_is_counted_by_its_pages() -> None:
    found = scan({"pages": [{"index": 0}, {"index": 1}], "usage_info": {"pages_processed": "x"}})

    assert (found.usage, found.counted) == (None, Usage(pages=2))
    assert found.flags == ("usage_wrong_type",)
    assert scan({"error": {"type": "invalid_request"}}).counted is None
    assert scan({}).counted == EMPTY


def test_the_model_is_renamed() -> None:
    body = b'{"model": "ocr", "pages": [1]}'

    assert OCR.patch(body, Patch(model="mistral-ocr-4-1")) == (
        b'{"model": "mistral-ocr-4-1", "pages": [1]}'
    )
    assert OCR.patch(body, Patch()) is body
    with pytest.raises(InvalidRequest):
        OCR.inspect(b'{"model": "a", "pages": [0], "pages": [0, 1]}', NOWHERE)


@given(documents())
def test_no_answer_is_too_odd(answer: dict[str, Any]) -> None:
    scan(answer)
