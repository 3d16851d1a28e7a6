"""The model, how it learns, and the command line. Importing it does not import torch."""
