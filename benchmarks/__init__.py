"""Measurements that a command makes; each writes JSON and Markdown with the machine's facts."""
