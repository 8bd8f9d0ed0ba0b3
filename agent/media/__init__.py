"""The store of media files: downloads, verification, eviction."""
