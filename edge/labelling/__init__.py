"""Labels from a detector: who is where, when, in videos that nobody has labelled.

`edge label` runs a person detector that the user gives over a folder of videos, follows people
through time, and writes a data set of the user's own (`docs/labelling.md`).
"""
