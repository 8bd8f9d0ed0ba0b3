"""Updates as links, the command line and the daemon see them: one at a time, received, checked, handed over, and told of.

The daemon cannot write its own releases. It checks a bundle and leaves it in `state_dir/incoming`; the root side
(`agent.update.install`) checks it again, installs it and switches; then the daemon ends, so that systemd starts the new version.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from agent import __version__
from agent.media.wants import amount
from agent.media.writer import completed
from agent.settings.tables import Update
from agent.system.logs import Trouble
from agent.system.state import State
from agent.update.errors import UnfitError, UpdateError
from agent.update.handover import Handover, bundle_name
from agent.update.news import Report
from agent.update.pace import LIMITS, Limits
from agent.update.probation import Before, ScreenNow
from agent.update.release import Machine, Release, elsewhere, own_machine
from agent.update.rootside import INCOMING, TIMERS, RootSide, RootTimers, utc_now

if TYPE_CHECKING:
    from agent.update.intake import Intake
    from agent.update.manifest import Manifest
    from agent.update.source import Source
    from agent.update.trial import Trial

__all__ = ["Report", "UpdateError", "Updates"]

log = logging.getLogger(__name__)

NOT_INSTALLED = "this agent was not installed by scripts/install, so it cannot be updated"
NO_KEYS = "no key is trusted here: [update] trusted_keys needs the public key of whoever signs the bundles"
SETTLE_S = 600.0
"""After the probation, for the guard to note how it ended."""


class AnyLink(Protocol):
    """What is needed of a link."""

    name: str

    @property
    def state(self) -> str:
        """ "connected" or something else."""


class Updates:
    """One per device, for all links. `load` it, `bind` it, and keep `run` running."""

    def __init__(
        self,
        settings: Update,
        state: State,
        *,
        state_dir: Path,
        serial: str,
        screens: Callable[[], Mapping[str, ScreenNow]],
        release: Release | None,
        machine: Callable[[], Machine] = own_machine,
        version: str = __version__,
        timers: RootTimers = TIMERS,
        limits: Limits = LIMITS,
    ) -> None:
        """`release` is the one that runs; None: this is a checkout. `screens` says what can be seen now."""
        self._settings = settings
        self._directory = state_dir / INCOMING
        self._state_dir = state_dir
        self._screens = screens
        self._machine = machine
        self._version = version
        self._limits = limits
        self._links: Callable[[], Iterable[AnyLink]] = tuple
        self._on_restart: Callable[[], None] = lambda: None
        self._listeners: list[Callable[[], None]] = []
        self._root: RootSide | None = None
        self._obstacle = ""
        """Why no update is ever taken here, in a sentence."""
        if release is None:
            self._obstacle = NOT_INSTALLED
        elif not release.reaches(state_dir):
            self._obstacle = f"this agent cannot be updated: {elsewhere(state_dir)}"
        elif not settings.trusted_keys:
            self._obstacle = NO_KEYS
        if release is not None:
            self._root = RootSide(
                release,
                state,
                state_dir,
                before=self._now_before,
                on_failure=self._fail,
                on_switch=self.restart,
                on_change=self._changed,
                timers=timers,
            )
        self._state = state
        self._serial = serial
        self._source: Source | None = None
        self._intake: Intake | None = None
        self._checking = False
        self._trouble = Trouble(log)
        self._failure: tuple[Any, dict[str, Any]] | None = None
        """The root side's last result at the time, and what failed here since."""
        self._ending = False
        self._trial: Trial | None = None
        self._settled_by = 0.0
        self._ready = asyncio.Event()
        self._began = asyncio.Event()

    @classmethod
    async def load(cls, settings: Update, state: State, **keywords: Any) -> Self:
        """Takes up what an earlier run, or another version, has left. Arguments as `__init__`."""
        updates = cls(settings, state, **keywords)
        root = updates._root
        if root is not None:
            before = await root.load()
            candidate = root.own_candidate
            if candidate is not None:
                from agent.update.trial import Trial  # noqa: PLC0415 - see `_make_source`

                updates._trial = Trial(
                    updates._state_dir,
                    candidate.digest,
                    candidate.version,
                    before,
                    probation_s=candidate.probation_s,
                    screens=updates._screens,
                    connected=updates._connected,
                )
                updates._settled_by = time.monotonic() + candidate.probation_s + SETTLE_S
        return updates

    def bind(self, links: Callable[[], Iterable[AnyLink]], on_restart: Callable[[], None]) -> None:
        """`links` are the ones that run now; `on_restart` ends the daemon."""
        self._links = links
        self._on_restart = on_restart

    def on_change(self, callback: Callable[[], None]) -> None:
        """`callback` is called after each change of `status` or of what there is to `report`; not for every byte."""
        self._listeners.append(callback)

    def ready(self) -> None:
        """The agent has come up: from now on a new version proves itself."""
        self._ready.set()

    async def run(self) -> None:
        """Sees through what was handed over, proves this version if it is new, looks for others; for ever."""
        root = self._root
        if root is None:
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(root.run(), name="updates: root side")
            tasks.create_task(self._give_up_slow(), name="updates: slow transfers")
            is_looked = self._settings.check != "off" and self._settings.source_url
            if is_looked and self._obstacle:
                log.warning("updates are not looked for cause=%s", self._obstacle)
            elif is_looked:
                tasks.create_task(self._make_source().run(), name="updates: source")
            if self._trial is not None:
                tasks.create_task(self._prove(self._trial), name="updates: probation")

    # What is asked of it

    @property
    def busy(self) -> bool:
        """Whether an update is being received or installed."""
        return bool(self._busy())

    def check_free(self) -> None:
        """Raises UpdateError if no update can be taken now."""
        if self._obstacle:
            raise UpdateError(self._obstacle)
        if busy := self._busy():
            raise UpdateError(busy, "device_busy")

    def begin(self, by: str, *, size: int | None = None, sha256: str | None = None, by_hand: bool = False) -> Intake:
        """Room for a bundle that `by`, the name of a link, is about to send. Raises UpdateError.

        `size` in bytes and `sha256` as announced; None: the bundle says how long it is. `by_hand`: somebody at the box wants
        just this one, even if it did not work here before.
        """
        self.check_free()
        from agent.update.intake import Intake  # noqa: PLC0415 - see `_make_source`

        intake = Intake(
            self._directory, by, size=size, sha256=sha256, by_hand=by_hand, on_change=self._changed, limits=self._limits
        )
        log.info("update begins by=%r size=%s", by, "unknown" if size is None else amount(size))
        self._intake = intake
        self._began.set()
        self._changed()
        return intake

    async def fetch(self, by: str, url: str, *, by_hand: bool = False) -> Intake:
        """The bundle at `url`, received whole; to be given to `install`. Raises UpdateError."""
        self.check_free()
        return await self._make_source().fetch(by, url, by_hand=by_hand)

    async def newest(self, by: str, version: str | None = None, *, by_hand: bool = False) -> Intake:
        """That version, or the newest, from `[update] source_url`; to be given to `install`. Raises UpdateError."""
        self.check_free()
        return await self._make_source().newest(by, version, by_hand=by_hand)

    async def install(self, intake: Intake) -> str:
        """Checks and installs what came; the version, once it has been switched to. Raises UpdateError; then all of it is gone.

        Whoever asked tells of the success and then calls `restart`. If that does not come, the agent restarts by itself; so it
        does when the caller is cancelled while the root side works.
        """
        root, version, digest = self._root, "", ""
        assert root is not None
        try:
            self._checking = True
            digest = await intake.finish()
            self._changed()
            manifest = await self._check(root.release, intake, digest)
            version = manifest.version
            file = bundle_name(digest, by_hand=intake.by_hand)
            result = await root.hand_over(intake, Handover(file, version, digest, intake.by, utc_now()))
        except UpdateError as error:
            self._fail(intake.by, version, digest, str(error))
            raise
        finally:
            self._checking = False
            await intake.abandon()
        self._trouble.over("an update is good again")
        log.info("update is good and waits to be installed version=%s by=%r", version, intake.by)
        return await result

    def restart(self) -> None:
        """Ends the daemon, so that systemd starts the version that was switched to."""
        if self._root is not None and self._root.switched and not self._ending:
            self._ending = True
            log.info("restarts into the new version version=%s", self._root.switched)
            self._on_restart()

    def look(self) -> None:
        """The root side has done something."""
        if self._root is not None:
            self._root.look()

    async def rolled_back(self) -> list[str]:
        """The digests of versions that did not work here."""
        return [] if self._root is None else list(self._root.slots.rolled_back)

    # What is told

    def status(self) -> dict[str, Any]:
        """`update` of the status document."""
        last = None if self._root is None else self._root.news.last
        failure = self._failure[1] if self._failure is not None and self._failure[0] == last else None
        document: dict[str, Any] = {
            "version": self._version,
            "state": self._state_now(),
            "candidate": self._candidate(),
            "last_result": failure or (None if last is None else asdict(last)),
        }
        intake = self._intake
        if intake is not None and intake.open:
            document |= {"received_bytes": intake.received, "total_bytes": intake.expected_bytes, "by": intake.by}
        return document

    async def report(self, link: str) -> Report | None:
        """What is to be told on this link; None: nothing, or it has been told."""
        return None if self._root is None else self._root.news.report(link)

    async def told(self, link: str) -> None:
        """What `report` said has been told on this link; on disk when this returns."""
        if self._root is not None:
            await self._root.news.told(link)

    # Inside

    def _make_source(self) -> Source:
        """The source of updates; made when somebody asks, as next to no box ever does: it takes memory."""
        if self._source is None:
            from agent.update.source import Source  # noqa: PLC0415 - see above

            self._source = Source(
                self._settings, self._state, self, serial=self._serial, version=self._version, machine=self._machine
            )
        return self._source

    async def _check(self, release: Release, intake: Intake, digest: str) -> Manifest:
        """What is in the bundle. Raises UpdateError unless it may be installed here."""

        def check() -> Manifest:
            from agent.update.bundle import BundleError, check_fits, verify  # noqa: PLC0415 - see `_make_source`

            machine = self._machine()
            try:
                with intake.path.open("rb") as file:
                    manifest = verify(file, self._settings.trusted_keys)
                check_fits(manifest, running=self._version, architecture=machine.architecture, python=machine.python)
            except BundleError as error:
                raise UnfitError(str(error)) from None
            if digest in release.slots().rolled_back and not intake.by_hand:
                raise UnfitError(
                    f"version {manifest.version} was taken back here before; to try it again run signage-agent update on the box"
                )
            return manifest

        try:
            return await completed(asyncio.get_running_loop().run_in_executor(None, check))
        except OSError as error:
            raise UpdateError(f"the update cannot be read: {error.strerror or type(error).__name__}") from None

    async def _prove(self, trial: Trial) -> None:
        await self._ready.wait()
        await trial.run()
        self._changed()

    async def _give_up_slow(self) -> None:
        while True:
            await self._began.wait()
            self._began.clear()
            while (intake := self._intake) is not None and intake.open and not self._checking:
                now = time.monotonic()
                if cause := intake.pace.fault(now):
                    log.warning("update is given up by=%r received=%d cause=%s", intake.by, intake.received, cause)
                    await intake.give_up(cause)
                else:
                    await asyncio.sleep(intake.pace.deadline - now)

    def _fail(self, by: str, version: str, digest: str, cause: str) -> None:
        self._trouble.is_("update is refused", cause, by=repr(by), version=version or "unknown")
        last = None if self._root is None else self._root.news.last
        self._failure = last, {"result": "refused", "version": version, "digest": digest, "cause": cause, "at": utc_now()}
        self._changed()

    def _busy(self) -> str:
        """What keeps another update from being taken, in a sentence."""
        root = self._root
        if root is not None and root.switched:
            return f"version {root.switched} is installed and about to start"
        if root is not None and root.handover is not None:
            return f"version {root.handover.version or 'unknown'} is being installed"
        if self._intake is not None and self._intake.open:
            return f"an update is being received from {self._intake.by}"
        if self._proves_itself():
            return f"version {self._version} is still on probation"
        return ""

    def _proves_itself(self) -> bool:
        root = self._root
        return (
            self._trial is not None
            and root is not None
            and root.own_candidate is not None
            and time.monotonic() < self._settled_by
        )

    def _state_now(self) -> str:
        root = self._root
        if root is not None and root.switched:
            return "restarting"
        if root is not None and root.handover is not None:
            return "installing"
        if self._intake is not None and self._intake.open:
            return "checking" if self._checking else "receiving"
        return "on probation" if self._proves_itself() else "idle"

    def _candidate(self) -> dict[str, Any] | None:
        root = self._root
        if root is None:
            return None
        if root.switched:
            return {"version": root.switched, "state": "installed"}
        if root.handover is not None:
            waits = root.handover
            return {"version": waits.version, "state": "waiting to be installed", "since": waits.at, "by": waits.by}
        candidate = root.slots.candidate
        if candidate is None:
            return None
        if self._trial is None:
            return {"version": candidate.version, "state": "to be switched to"}
        return {"version": candidate.version, "state": "on probation", "unmet": self._trial.unmet}

    def _now_before(self) -> Before:
        """What works now, and has to work with the next version."""
        screens = {name: now.shows and now.plays_list for name, now in self._screens().items() if now.usable and now.up}
        return Before(screens, tuple(link.name for link in self._links() if link.state == "connected"))

    def _connected(self) -> bool:
        return any(link.state == "connected" for link in self._links())

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()
