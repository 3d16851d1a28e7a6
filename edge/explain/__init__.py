"""See what a model sees: where it finds actors, which tokens speak, and where these look."""
