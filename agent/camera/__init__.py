"""The camera: its proxy in the daemon and the WebRTC worker, which runs only while somebody watches."""
