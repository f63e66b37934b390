"""Caps: the largest output (and input) a call may have, and who set it."""

from functools import lru_cache

from msgspec import Struct

from proxy.core.call import CapSource, Key
from proxy.core.errors import ContextLengthExceeded, MaxOutputTokensExceeded


class Cap(Struct, frozen=True):
    """The effective output cap, in tokens for each choice. ``tokens`` None: nobody set one."""

    tokens: int | None
    source: CapSource

    @property
    def header(self) -> str:
        """As the answer's ``x-farebox-output-cap`` says it."""
        return f"{self.tokens}; source={self.source}"


def output_cap(
    asked: int | None,
    key: Key,
    *,
    model_rule: int | None,
    default: int | None,
    model_maximum: int | None = None,
) -> Cap:
    """The least of what the client, key, team, model rule and default allow.

    The client is named where it asked for no more than the others allow. The model's own maximum
    bounds what we write, so that a generous default is no error at a small model; it is no cap of
    its own, and what the client asked for is the upstream's to judge.
    """
    team = key.team.max_output_tokens
    return _least(asked, key.max_output_tokens, team, model_rule, default, model_maximum)


@lru_cache(maxsize=4096)
def _least(
    asked: int | None,
    key: int | None,
    team: int | None,
    model_rule: int | None,
    default: int | None,
    model_maximum: int | None,
) -> Cap:
    limits = (
        (CapSource.KEY, key),
        (CapSource.TEAM, team),
        (CapSource.MODEL, model_rule),
        (CapSource.DEFAULT, default),
    )
    least, source = asked, CapSource.CLIENT if asked is not None else CapSource.NONE
    for name, tokens in limits:
        if tokens is not None and (least is None or tokens < least):
            least, source = tokens, name
    if least is not None and source is not CapSource.CLIENT and model_maximum is not None:
        least = min(least, model_maximum)
    return Cap(least, source)


def check_over_cap(asked: int | None, cap: Cap, policy: str, parameter: str) -> None:
    """Where the policy is to reject, a client may not ask for more than the cap.

    Raises MaxOutputTokensExceeded.
    """
    if policy == "reject" and asked is not None and cap.tokens is not None and asked > cap.tokens:
        raise MaxOutputTokensExceeded(
            f"{parameter}={asked} is over the cap of {cap.tokens} output tokens "
            f"(set by: {cap.source}). Ask for at most {cap.tokens}.",
            param=parameter,
        )


def check_input_cap(tokens: int, limit: int, team: str) -> None:
    """Raises ContextLengthExceeded where the input has more tokens than the team may send."""
    if tokens > limit:
        raise ContextLengthExceeded(
            f"The input has about {tokens} tokens; team {team!r} may send at most {limit}. "
            "Shorten it, or have the team's max_input_tokens raised.",
            param="messages",
        )
