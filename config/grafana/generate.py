"""Write the dashboards of ``dashboards/``: they are code, and the JSON beside is what it makes.

Money is read from the ledger (PostgreSQL), rates from Prometheus: a counter's increase is never
money to the cent.
"""

from pathlib import Path

from boards import budgets, latency, ledger, prompts, runbooks, spend

FOLDER = Path(__file__).parent / "dashboards"


def dashboards() -> dict[str, str]:
    """The JSON of each dashboard, by file name."""
    return {
        "spend.json": spend.board(),
        "budgets.json": budgets.board(),
        "latency.json": latency.board(),
        "prompts.json": prompts.board(),
        "ledger.json": ledger.board(),
        "runbooks.json": runbooks.board(),
    }


def main() -> None:
    """Write every dashboard, and remove what is none any more."""
    FOLDER.mkdir(exist_ok=True)
    made = dashboards()
    for path in FOLDER.glob("*.json"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
