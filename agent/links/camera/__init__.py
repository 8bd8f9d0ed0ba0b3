"""The camera protocol: the device's side of a WebRTC signalling server."""
