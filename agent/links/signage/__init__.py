"""The signage protocol: playlists by REST, commands and reports by WebSocket."""
