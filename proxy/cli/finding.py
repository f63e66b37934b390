"""One finding of ``farebox check``."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one thing."""

    what: str
    verdict: str  # ok | note | problem
    detail: str

    @property
    def is_problem(self) -> bool:
        """Whether the service would not work as configured."""
        return self.verdict == "problem"
