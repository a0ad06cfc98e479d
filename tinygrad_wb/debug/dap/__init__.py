"""The stepper behind a socket, for editors: the Debug Adapter Protocol (microsoft.github.io/debug-adapter-protocol)."""
