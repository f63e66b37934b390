"""Every error that a caller of Farebox can see.

FareboxError
├── ConfigurationError        a file, a path in it, and what to write instead
├── Refusal                   a call that Farebox answers itself (status, type, code)
│   ├── InvalidApiKey             401  invalid_api_key
│   ├── ModelNotAllowed           403  model_not_allowed
│   ├── ModelNotFound             404  model_not_found
│   ├── InvalidRequest            400  invalid_request
│   ├── RequestTooLarge           413  request_too_large
│   ├── HeadTooLarge              431  request_too_large
│   ├── RequestTimeout            408  request_timeout
│   ├── ContextLengthExceeded     400  context_length_exceeded
│   ├── MaxOutputTokensExceeded   400  max_output_tokens_exceeded
│   ├── ModelNotPriced            400  model_not_priced
│   ├── CallNotBounded            400  call_not_bounded
│   ├── BudgetExceeded            429  budget_exceeded
│   ├── RateLimitExceeded         429  rate_limit_exceeded
│   ├── NotFound                  404  not_found
│   ├── LedgerUnavailable         503  ledger_unavailable
│   ├── ShuttingDown              503  shutting_down
│   ├── InternalError             500  internal_error
│   └── UpstreamFailed            502  upstream_failed
│       ├── UpstreamUnreachable   502  upstream_unreachable
│       └── UpstreamTimeout       504  upstream_timeout
└── LedgerError               the ledger could not do what was asked (the database's word inside)

A dialect turns a Refusal into its own error shape; the message says what to do and never holds a key.
"""

from typing import ClassVar


class FareboxError(Exception):
    """Something that Farebox knows how to explain."""


class ConfigurationError(FareboxError):
    """The configuration is wrong; the message names the file, the path in it, and what to write instead."""


class LedgerError(FareboxError):
    """The ledger's database did not do what was asked."""


class Refusal(FareboxError):
    """A call that Farebox answers itself. ``headers`` go out with the answer."""

    status: ClassVar[int] = 400
    type: ClassVar[str] = "invalid_request_error"
    code: ClassVar[str] = "invalid_request"

    def __init__(
        self, message: str, *, param: str | None = None, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.headers = headers


class InvalidApiKey(Refusal):
    """No key, or one that Farebox does not know."""

    status, code = 401, "invalid_api_key"


class ModelNotAllowed(Refusal):
    """The team may not use this model."""

    status, type, code = 403, "permission_error", "model_not_allowed"


class ModelNotFound(Refusal):
    """No rule of the configuration leads this model to an upstream."""

    status, code = 404, "model_not_found"


class NotFound(Refusal):
    """There is nothing at this address for this key."""

    status, code = 404, "not_found"


class InvalidRequest(Refusal):
    """The body is not what the endpoint takes."""


class RequestTooLarge(Refusal):
    """The body is larger than ``limits.max_body_bytes``."""

    status, code = 413, "request_too_large"


class HeadTooLarge(Refusal):
    """The request's headers, or its address, are larger than ``limits.max_header_bytes``."""

    status, code = 431, "request_too_large"


class RequestTimeout(Refusal):
    """The request's head or body did not come in time (``server.head_timeout_s``, ``body_timeout_s``)."""

    status, code = 408, "request_timeout"


class ContextLengthExceeded(Refusal):
    """The input is over the team's ``max_input_tokens``."""

    code = "context_length_exceeded"


class MaxOutputTokensExceeded(Refusal):
    """The client asked for more output than its cap, and the policy is to reject."""

    code = "max_output_tokens_exceeded"


class ModelNotPriced(Refusal):
    """A blocking budget covers the call, and nothing says what the model costs."""

    code = "model_not_priced"


class CallNotBounded(Refusal):
    """A blocking budget covers the call, and its cost can't be bounded from its body."""

    code = "call_not_bounded"


class BudgetExceeded(Refusal):
    """The most that the call can cost does not fit the budget."""

    status, type, code = 429, "insufficient_quota", "budget_exceeded"


class RateLimitExceeded(Refusal):
    """Too many calls, or too many tokens, in too short a time."""

    status, type, code = 429, "rate_limit_error", "rate_limit_exceeded"


class LedgerUnavailable(Refusal):
    """The ledger can't be reached, and the policy is to reject."""

    status, type, code = 503, "server_error", "ledger_unavailable"


class ShuttingDown(Refusal):
    """The proxy is stopping."""

    status, type, code = 503, "server_error", "shutting_down"


class InternalError(Refusal):
    """A defect of ours ended the call."""

    status, type, code = 500, "server_error", "internal_error"


class UpstreamFailed(Refusal):
    """No upstream gave an answer. ``sent`` says whether the request may have reached one.

    ``stale``: it was sent on a connection that had been used before, and that broke without a byte
    of an answer. Most likely the upstream closed it while it was idle: it is worth a second attempt.
    """

    status, type, code = 502, "upstream_error", "upstream_failed"

    def __init__(self, message: str, *, sent: bool = True, stale: bool = False) -> None:
        super().__init__(message)
        self.sent = sent
        self.stale = stale

    def was_at(self, upstream: str) -> None:
        """Say which upstream it was, and what to do: the client of a socket knows neither."""
        self.message += (
            f" The upstream is {upstream!r}. Try again in a moment; "
            "`farebox check` says whether it can be reached."
        )


class UpstreamUnreachable(UpstreamFailed):
    """No connection, or it broke before the answer."""

    code = "upstream_unreachable"


class UpstreamTimeout(UpstreamFailed):
    """The upstream took longer than its time-out."""

    status, code = 504, "upstream_timeout"
