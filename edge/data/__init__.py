"""Readers and makers of video data."""
