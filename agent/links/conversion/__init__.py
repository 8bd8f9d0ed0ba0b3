"""Conversion servers: films on their way, shown coming and played when they are really there."""
