"""The speaker protocol: commands, settings and voice over one WebSocket, as PTalk devices speak it."""
