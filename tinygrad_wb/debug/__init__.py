"""Seeing what backprop does: step by step, and where it went wrong."""
