"""The engines that `benchmarks.engines` compares, a module each, and the process that runs one."""
