"""The store of media files: downloads, verification, eviction."""

from __future__ import annotations

from agent.media.store import MediaStore
from agent.media.wants import DownloadStatus, FetchError, Timers, Want

__all__ = ["DownloadStatus", "FetchError", "MediaStore", "Timers", "Want"]
