"""TensorRT engines: built on the device, measured, run. Never run on its target; see README.md."""
