"""The control plane: use cases, the run queue and its SQL, artifact storage. It parses no HTTP."""
