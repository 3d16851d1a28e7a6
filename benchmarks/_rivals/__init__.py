"""What `benchmarks.rivals` measures beside this project's models, and how it is run."""
