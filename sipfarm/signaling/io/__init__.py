"""Shells of signaling: sockets, streams and the driver of the engine."""
