"""On-device agent for signage and speaker hardware."""

__version__ = "0.1.0"
