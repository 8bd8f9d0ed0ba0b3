"""Volume, brightness, power, identity, displays, health."""
