"""What every use case is given and may rely on: the control plane, who asks, events, the audit's entries."""
