"""Jobs: from analyze to the decision, one step at a time, through the worker adapters."""
