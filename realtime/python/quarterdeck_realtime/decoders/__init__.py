"""Decoders by name, behind one protocol: `decoder("matching", dem).decode_batch(events)`."""

from quarterdeck_realtime.decoders.own import Decoded, OwnDecoder
from quarterdeck_realtime.decoders.protocol import BatchDecoder, MissingPackage
from quarterdeck_realtime.decoders.registry import decoder, names

__all__ = ["BatchDecoder", "Decoded", "MissingPackage", "OwnDecoder", "decoder", "names"]
