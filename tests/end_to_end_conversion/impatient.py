"""The agent with waits that a test can bear: everything is asked for again soon. What is configured and said is as ever."""

from __future__ import annotations

import sys
from functools import partial

from agent.cli import main
from agent.links import backoff
from agent.links.conversion import sockets
from agent.links.conversion.board import BoardTimers
from agent.links.conversion.delivery import DeliveryTimers
from agent.links.conversion.follow import FollowTimers
from agent.links.conversion.link import ConversionLink, ConversionTimers
from agent.media import store
from agent.media.wants import Timers

if __name__ == "__main__":
    backoff.LONGEST_S = 1.0
    vars(store)["Timers"] = partial(Timers, retry_first_s=0.1, retry_last_s=0.5)
    sockets.SPREAD_S = 0.2
    defaults = ConversionLink.__init__.__kwdefaults__
    assert defaults is not None
    defaults["timers"] = ConversionTimers(
        look_busy_s=0.25,
        look_idle_s=0.25,
        hint_s=0.1,
        follow=FollowTimers(poll_least_s=0.2, poll_most_s=0.3, confirm_first_s=0.1, confirm_most_s=0.3, silence_s=1.5),
        delivery=DeliveryTimers(missing_s=0.1, storage_s=0.5, storage_most_s=0.5),
        board=BoardTimers(notice_s=1.2, paint_s=0.1, clock_s=0.3),
    )
    sys.exit(main())
