"""The parts of `benchmarks.by_operator`: reading a program, recording a run, joining the two."""
