"""*Runbooks*: ``docs/runbooks.md`` as a dashboard, so that it is there when an alert fires."""

from pathlib import Path

from boards.frame import page
from boards.panels import Note

RUNBOOKS = Path(__file__).parents[3] / "docs/runbooks.md"


def board() -> str:
    """The dashboard's JSON: a panel for each alert."""
    intro, *chapters = RUNBOOKS.read_text().split("\n## ")
    notes = [Note("Runbooks", intro.partition("\n")[2].strip(), height=4)]
    for chapter in chapters:
        name, _, words = chapter.partition("\n")
        notes.append(Note(name, words.strip(), width=12, height=11))
    return page(
        "runbooks",
        "Farebox runbooks",
        "What each alert means, what to look at, and what to do.",
        {"": notes},
        variables=(),
    )
