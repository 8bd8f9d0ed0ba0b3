"""The agent with waits that a test can bear: a server may be silent for $SILENCE_S; a refusal is tried again within a second."""

from __future__ import annotations

import dataclasses
import os
import sys

from agent.cli import main
from agent.links import backoff
from agent.links.tronbyt.link import TronbytLink, TronbytTimers

if __name__ == "__main__":
    backoff.LONGEST_S = 1.0
    defaults = TronbytLink.__init__.__kwdefaults__
    assert defaults is not None
    defaults["timers"] = dataclasses.replace(TronbytTimers(), silence_s=float(os.environ["SILENCE_S"]))
    sys.exit(main())
