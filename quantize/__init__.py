"""Int8 schemes by target, post-training quantization and its report."""
