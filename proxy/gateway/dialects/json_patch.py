"""The changes that Farebox makes to a JSON body, as edits of its bytes."""

import orjson

from proxy.gateway.dialects import splice
from proxy.gateway.dialects.model_splice import set_model


class JsonPatch:
    """Collects edits of one object, and applies them at once."""

    __slots__ = ("_added", "_body", "_edits", "_found")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._found = splice.Object(body)
        self._edits: list[splice.Edit] = []
        self._added: list[bytes] = []

    def set_model(self, model: str | None) -> None:
        """Name another model, where the body names one (else the path does)."""
        if model is not None:
            set_model(self._body, self._found, model, self._edits)

    def lower(self, name: str, cap: int | None) -> None:
        """Lower a limit to the cap; add it where it is absent."""
        if cap is None:
            return
        span = self._found.locate(name.encode())
        if span is None:
            self._added.append(b'"%b":%d' % (name.encode(), cap))
            return
        limit = orjson.loads(self._body[slice(*span)])
        if limit is None or limit < 0 or limit > cap:
            self._edits.append((*span, b"%d" % cap))

    def ask_for_usage(self) -> None:
        """Set ``stream_options.include_usage``; the other options stay."""
        options = self._found.locate(b"stream_options")
        if options is None:
            self._added.append(b'"stream_options":{"include_usage":true}')
            return
        if self._body[options[0]] != ord("{"):  # null
            self._edits.append((*options, b'{"include_usage":true}'))
            return
        for member in splice.members(self._body, options[0]):
            if member.name == "include_usage":
                if self._body[slice(*member.value)] != b"true":
                    self._edits.append((*member.value, b"true"))
                return
        self._edits.append(splice.insertion(self._body, b'"include_usage":true', options))

    def applied(self) -> bytes:
        """The body after all edits; the same object where there are none."""
        edits = self._edits
        if self._added:
            edits = [*edits, splice.insertion(self._body, b",".join(self._added))]
        return splice.apply(self._body, edits)


def with_model(body: bytes, model: str | None) -> bytes:
    """The body naming another model, and nothing else changed; the same object where that is None."""
    if model is None:
        return body
    edits = JsonPatch(body)
    edits.set_model(model)
    return edits.applied()
