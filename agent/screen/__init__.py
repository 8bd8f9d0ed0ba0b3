"""One output: its proxy in the daemon and its mpv worker."""
