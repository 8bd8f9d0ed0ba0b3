"""Ground under the rooms: child processes, state on disk, logs, systemd notification, clocks."""
