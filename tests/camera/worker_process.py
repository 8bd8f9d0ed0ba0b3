"""A worker that breaks in ways a test asks for: `python -m tests.camera.worker_process`, the real one otherwise.

CAMERA_TEST in the environment: `die` ends it at the start, `hang` gives it a camera that neither works nor ends,
`break` one that is gone after some pictures.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from agent.camera import source, worker
from agent.camera.pattern import PatternSource


class Breaking(PatternSource):
    """Is unplugged after a moment."""

    def read(self) -> Any:
        """Pictures, and then none."""
        if self._number > 20:
            raise source.SourceError("the camera is gone")
        return super().read()


class Hanging(PatternSource):
    """Stands still after a moment, and cannot be ended."""

    def read(self) -> Any:
        """Pictures, and then nothing at all."""
        while self._number > 20:
            time.sleep(1)
        return super().read()


def load() -> Any:
    """The real modules with a shorter patience and another source."""
    loaded = real_load()
    from agent.camera import studio  # noqa: PLC0415 - loads PyAV, which the worker does in its own time

    timers = studio.StudioTimers(stall_s=0.3, stuck_s=0.2, look_s=0.1)
    kind = {"break": Breaking, "hang": Hanging}.get(how, PatternSource)
    make = loaded.Sessions

    class Loaded:
        Picture = loaded.Picture

        @staticmethod
        def Sessions(*arguments: Any, **keywords: Any) -> Any:  # noqa: N802 - stands for a class
            return make(*arguments, **keywords, opener=lambda _, picture: kind(picture), studio_timers=timers)

    return Loaded


if __name__ == "__main__":
    how = os.environ.get("CAMERA_TEST", "")
    if how == "die":
        sys.exit(3)
    real_load = worker._load
    worker._load = load
    worker.main()
