"""A JSON value that fits a JSON schema, for structured answers and for the arguments of tools."""

from typing import Any, Final

_TEXT: Final = "simulated"
_FORMATS: Final = {
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "date-time": "2026-01-02T03:04:05Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
}
_DEEPEST: Final = 12  # a schema that contains itself ends here


def example(schema: Any, root: Any = None, depth: int = 0) -> Any:
    """A value for a simple schema: every property is given, whether required or not."""
    root = schema if root is None else root
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    if "$ref" in schema:
        return example(_resolve(str(schema["$ref"]), root), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return _first_that_ends(schema[key], root, depth)
    return _typed(schema, root, depth)


def _resolve(reference: str, root: Any) -> Any:
    found = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            found = found.get(step) if isinstance(found, dict) else None
    return found


def _first_that_ends(options: list[Any], root: Any, depth: int) -> Any:
    """The first option, but deep down null if that is one: a list of nodes has to end somewhere."""
    nullable = any(isinstance(o, dict) and o.get("type") == "null" for o in options)
    return None if nullable and depth > _DEEPEST // 2 else example(options[0], root, depth + 1)


def _typed(schema: dict[str, Any], root: Any, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0] if kind else "null"
    if kind == "object":
        properties = schema.get("properties") or {}
        return {name: example(part, root, depth + 1) for name, part in properties.items()}
    if kind == "array":
        length = 0 if depth > _DEEPEST // 2 else max(int(schema.get("minItems", 1)), 1)
        return [example(schema.get("items", {}), root, depth + 1) for _ in range(length)]
    return _scalar(kind, schema)


def _scalar(kind: str, schema: dict[str, Any]) -> Any:
    if kind == "integer":
        return int(schema.get("minimum", 7))
    if kind == "number":
        return schema.get("minimum", 7.5)
    if kind == "boolean":
        return True
    if kind == "null":
        return None
    text = _FORMATS.get(str(schema.get("format")), _TEXT)
    text = text.ljust(int(schema.get("minLength", 0)), ".")
    return text[: int(schema.get("maxLength", len(text)))]
