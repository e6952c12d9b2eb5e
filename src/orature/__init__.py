"""Orature: from minutes to hours of transcribed speech to a measured, usable speech recogniser."""

__version__ = "0.1.0"
