"""Announcements and push to talk: the proxy in the daemon and the worker that plays and records."""
