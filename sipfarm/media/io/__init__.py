"""Shells of the media plane."""
