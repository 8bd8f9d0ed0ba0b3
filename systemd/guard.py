"""The guard as systemd runs it, from the copy of its modules beside this file (agent/update/guard.py)."""

from agent.update.guard import run

raise SystemExit(run())
