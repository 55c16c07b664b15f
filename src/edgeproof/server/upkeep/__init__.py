"""What the control plane does by itself now and then."""
