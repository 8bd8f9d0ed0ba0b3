"""scripts/demo: mock server and agent side by side on this machine, everything they write in .demo/ of the checkout."""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
DIRECTORY = CHECKOUT / ".demo"
SERIAL = "DEMO-01"


class DemoError(Exception):
    """The demo cannot go on; str() says why."""


def say(line: str) -> None:
    """A line for whoever watches the terminal."""
    print(f"demo: {line}", flush=True)  # noqa: T201 - the demo talks to people
