"""A call that went well as the rows of its tables, from a form that is printed once for each answer.

Nine calls in ten differ from others with the same answer by who called, and when. To make and take apart
a record for each costs four times as much as to fill in a form, which is made from such a record.
"""

from dataclasses import dataclass
from typing import Self

from proxy.core.call import totals
from proxy.ledger import rows
from proxy.ledger.demo.calls import Caller, Draw, record_of
from proxy.ledger.demo.company import ORGANISATION
from proxy.ledger.demo.samples import Sample
from proxy.ledger.rows import ATTEMPT_COLUMNS, CALL_COLUMNS, Row

_WORKFLOW = CALL_COLUMNS.index("workflow")
_CALL_AS = CALL_COLUMNS.index("upstream_call_id")
_TEAM = ATTEMPT_COLUMNS.index("team")
_ATTEMPT_AS = ATTEMPT_COLUMNS.index("upstream_call_id")


@dataclass(frozen=True, slots=True)
class Form:
    """What all calls with one answer have in common."""

    overhead_us: int
    call: tuple[Row, Row]  # from the workflow on, and after the id that the upstream gave
    attempt: tuple[Row, Row]  # from the team on, and after that id
    rollup: Row  # the key of its rollup, but for the hour
    counts: Row
    workflow: str
    principal_counts: Row

    @classmethod
    def of(cls, answer: Sample) -> Self:
        """The form for an answer."""
        nobody = Caller(answer.lane.team, "", "", "")
        record = record_of(Draw("", 0, nobody, answer, luck=1.0))
        sums = totals(record)
        call = rows.call_row(record, answer.lane.model, sums)
        attempt = rows.attempt_row(record, record.attempts[0])
        return cls(
            answer.overhead_us,
            (call[_WORKFLOW:_CALL_AS], call[_CALL_AS + 1 :]),
            (attempt[_TEAM:_ATTEMPT_AS], attempt[_ATTEMPT_AS + 1 :]),
            rows.rollup_key(record)[1:],
            rows.rollup_counts(record, sums),
            record.workflow,
            rows.principal_counts(sums),
        )

    def call_row(self, draw: Draw, given: str) -> Row:
        """The row of ``calls``."""
        caller = draw.caller
        who = (caller.team, ORGANISATION, caller.key_id, caller.key, caller.user)
        before, after = self.call
        return (draw.id, draw.at_us, *who, *before, given, *after)

    def attempt_row(self, draw: Draw, given: str) -> Row:
        """The row of ``attempts``."""
        before, after = self.attempt
        return (draw.id, 1, draw.at_us + self.overhead_us, *before, given, *after)

    def principal(self, caller: Caller) -> Row:
        """The key of its rollup by principal, but for the day."""
        return (caller.team, caller.key, caller.user, self.workflow)


class Forms(dict[Sample, Form]):
    """The forms for answers, printed when they are first asked for."""

    def __missing__(self, answer: Sample) -> Form:
        """Print it."""
        form = self[answer] = Form.of(answer)
        return form
