"""From a checkpoint to artifacts that were loaded, run and compared in their engine."""
