"""Quarterdeck's real-time host: decodes error-correction syndromes against a deadline, and explains every miss."""

from quarterdeck_realtime.model import model_of

__all__ = ["model_of"]
