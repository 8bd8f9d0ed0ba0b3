"""The local socket: status, screenshot, commands."""
