"""What runners ask for: claim, heartbeat, submit, fail; and what ends leases without them."""
