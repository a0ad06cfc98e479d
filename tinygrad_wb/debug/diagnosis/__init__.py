"""The checks of `diagnose`: what each looks at in the graph of a loss, and what it says."""
