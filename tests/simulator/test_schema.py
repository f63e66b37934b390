"""JSON that fits a schema."""

from typing import Any

import pytest

from proxy.simulator.schema import example

NODE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
        }
    },
    "$ref": "#/$defs/node",
}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, "simulated"),
        ({"type": "string", "maxLength": 3}, "sim"),
        ({"type": "string", "minLength": 11}, "simulated.."),
        ({"type": "string", "format": "date"}, "2026-01-02"),
        ({"enum": ["red", "blue"]}, "red"),
        ({"const": 4}, 4),
        ({"type": "integer", "minimum": 10}, 10),
        ({"type": "number"}, 7.5),
        ({"type": "boolean"}, True),
        ({"type": ["string", "null"]}, "simulated"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 7),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [7, 7]),
        ({"type": "object"}, {}),
        ({"properties": {"a": {"type": "null"}}}, {"a": None}),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"const": 1}}}, 1),
        ({"$ref": "#/$defs/absent"}, None),
        (True, None),
    ],
)
def test_fits(schema: Any, expected: Any) -> None:
    assert expected == example(schema)


def test_a_schema_that_contains_itself_ends() -> None:
    """Links end in null and lists in nothing; no node is cut off before its name."""

    def check(node: dict[str, Any]) -> int:
        assert node["name"] == "simulated"
        below = [*node["children"], *([node["next"]] if node["next"] else [])]
        return 1 + max((check(child) for child in below), default=0)

    assert 1 < check(example(NODE)) < 10
