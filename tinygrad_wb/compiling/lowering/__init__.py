"""How operations that NumPy has no single call for are written."""
