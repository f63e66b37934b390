"""Which dialect speaks at which endpoint. A new one is its own file and one line here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy.gateway.dialects.base import Dialect
from proxy.gateway.dialects.openai_chat import OpenAIChat
from proxy.gateway.dialects.unmetered import Unmetered

# Dialects have no state: one object serves all calls.
DIALECTS: Final[Mapping[str, Dialect]] = MappingProxyType(
    {
        "chat.completions": OpenAIChat(),
    }
)
UNMETERED: Final[Dialect] = Unmetered()
