"""Everything a device needs to run a bundle; never imports torch."""
