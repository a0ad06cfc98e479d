"""Debugging derivatives: one trace of a backward pass (`trace`), stepped, explained, shown in a terminal."""
