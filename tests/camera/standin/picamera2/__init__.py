"""Stands in for picamera2 0.3.38, which exists on a Raspberry Pi only: the same names, signatures, threads and order of calls.

`behaviour` is what a test may change. The pictures are the test pattern's.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import numpy as np

from agent.camera.pattern import PatternSource
from agent.camera.source import Picture

behaviour = SimpleNamespace(cameras=["/base/soc/i2c0mux/i2c@1/imx708@1a"], fails_after=10**9, stands_still_after=10**9, log=[])


class Job:
    """What `wait=False` gives."""

    def __init__(self) -> None:
        self._future: Future[Any] = Future()

    def get_result(self, timeout: float | None = None) -> Any:
        return self._future.result(timeout=timeout)


class Picamera2:
    """One camera; its pictures come in a thread of its own."""

    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        return [
            {"Model": "imx708", "Location": 2, "Rotation": 180, "Id": name, "Num": i} for i, name in enumerate(behaviour.cameras)
        ]

    def __init__(self, camera_num: int = 0, verbose_console: Any = None, tuning: Any = None, allocator: Any = None) -> None:
        behaviour.log.append(f"open {camera_num}")
        self.lock = threading.Lock()
        self.started = False
        self.camera_config: dict[str, Any] = {}
        self._encoders: set[Any] = set()
        self._jobs: list[Job] = []
        self._thread: threading.Thread | None = None

    def create_video_configuration(  # noqa: PLR0917 - as the real one
        self,
        main: dict[str, Any] = {},  # noqa: B006
        lores: Any = None,
        raw: Any = {},  # noqa: B006
        transform: Any = None,
        colour_space: Any = None,
        buffer_count: int = 6,
        controls: dict[str, Any] = {},  # noqa: B006
        display: str = "main",
        encode: str = "main",
        queue: bool = True,
        sensor: Any = {},  # noqa: B006
        use_case: str = "video",
    ) -> dict[str, Any]:
        stream: dict[str, Any] = {"format": "XBGR8888", "size": (1280, 720), "preserve_ar": True} | main
        if stream["size"][0] % 2 or stream["size"][1] % 2:
            raise RuntimeError("width and height should be even")
        return {"main": stream, "lores": lores, "raw": raw, "controls": controls, "encode": encode, "buffer_count": buffer_count}

    def configure(self, camera_config: Any = None) -> None:
        if self.started:
            raise RuntimeError("Camera must be stopped before configuring")
        self.camera_config = camera_config
        stream = camera_config["main"]
        assert stream["format"] == "YUV420"
        stream["stride"] = (stream["size"][0] + 127) // 128 * 128

    def camera_configuration(self) -> dict[str, Any]:
        return self.camera_config

    def start(self, config: Any = None, show_preview: bool = False) -> None:
        low, _ = self.camera_config["controls"]["FrameDurationLimits"]
        width, height = self.camera_config["main"]["size"]
        self._source = PatternSource(Picture(width, height, round(1_000_000 / low)))
        self.started = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self.started:
            self.started = False
            assert self._thread is not None
            self._thread.join()

    def close(self) -> None:
        behaviour.log.append("close")

    def capture_buffer(self, name: str = "main", wait: Any = None, signal_function: Any = None) -> Any:
        assert name == "main"
        job = Job()
        with self.lock:
            self._jobs.append(job)
        return job if wait is False else job.get_result()

    def wait(self, job: Job, timeout: float | None = None) -> Any:
        return job.get_result(timeout=timeout)

    def start_encoder(
        self, encoder: Any = None, output: Any = None, pts: Any = None, quality: Any = None, name: Any = None
    ) -> None:
        from picamera2.outputs import Output  # noqa: PLC0415 - as the real one has it loaded

        if not isinstance(output, Output):
            raise RuntimeError("Must pass Output")  # noqa: TRY004 - as the real one
        stream = self.camera_config[name or "main"]
        encoder.size, encoder.format, encoder.stride = stream["size"], stream["format"], stream["stride"]
        encoder.output = output
        encoder.start(quality=quality)
        behaviour.log.append(f"encode {encoder.bitrate} {encoder.iperiod} {encoder.profile}")
        with self.lock:
            self._encoders.add(encoder)

    def stop_encoder(self, encoders: Any = None) -> None:
        encoders.stop()
        behaviour.log.append("stop encoder")
        with self.lock:
            self._encoders.remove(encoders)

    def _run(self) -> None:
        number = 0
        while self.started:
            frame = self._source.read()
            number += 1
            if number > behaviour.stands_still_after:
                continue
            with self.lock:
                encoders, jobs, self._jobs = list(self._encoders), self._jobs, []
            for encoder in encoders:
                encoder.encode(frame, number * 33_333)
            for job in jobs:
                if number > behaviour.fails_after:
                    job._future.set_exception(RuntimeError("Camera frontend has timed out!"))
                else:
                    job._future.set_result(self._pixels(frame))

    def _pixels(self, frame: Any) -> Any:
        """One line after the other, each as long as the stride."""
        stride = self.camera_config["main"]["stride"]
        planes = []
        for plane, step in zip(frame.planes, (stride, stride // 2, stride // 2), strict=True):
            lines = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
            planes.append(np.pad(lines, ((0, 0), (0, step - plane.width))).ravel())
        return np.concatenate(planes)
