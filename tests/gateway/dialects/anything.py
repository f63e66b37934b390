"""JSON of any shape, out of the names that Gemini uses."""

from hypothesis import strategies as st

NAMES = st.sampled_from(
    [
        "candidates",
        "content",
        "parts",
        "text",
        "functionCall",
        "finishReason",
        "index",
        "groundingMetadata",
        "webSearchQueries",
        "usageMetadata",
        "promptTokenCount",
        "totalTokenCount",
        "thoughtsTokenCount",
        "cachedContentTokenCount",
        "promptTokensDetails",
        "modality",
        "tokenCount",
        "trafficType",
        "error",
        "promptFeedback",
        "modelVersion",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
