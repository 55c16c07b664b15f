"""The benchmarks that ship: ``edgeproof bench …``. Nothing imports them; the CLI finds them by name."""
