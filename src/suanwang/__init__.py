"""Suanwang (算网): an operating system for cloud and computing-power networks."""

__version__ = "0.1.0"
