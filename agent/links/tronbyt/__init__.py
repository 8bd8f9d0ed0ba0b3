"""The Tronbyt protocol: a server pushes small pictures, the agent shows them in step and acknowledges them."""
