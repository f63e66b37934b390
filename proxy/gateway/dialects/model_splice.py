"""Writes the upstream's own name for a model into a body."""

import orjson

from proxy.gateway.dialects import splice


def set_model(body: bytes, found: splice.Object, model: str, edits: list[splice.Edit]) -> None:
    """Add the edit that it takes; none where the body names it so, or names none."""
    span = found.locate(b"model")
    if span is not None and orjson.loads(body[slice(*span)]) != model:
        edits.append((*span, orjson.dumps(model)))
