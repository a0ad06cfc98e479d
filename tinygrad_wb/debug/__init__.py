"""Debugging derivatives: a backward pass stepped and explained, and where it went wrong."""
