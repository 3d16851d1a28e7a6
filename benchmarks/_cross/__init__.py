"""Parts of `benchmarks.cross_validation`."""
