"""
Measuring a board: what its medium and its processor can do, and what follows from it for writing images.

`measure` does it all and gives a Document (document.py), which goes through JSON to reports and comparisons.
Only `settings` is imported when an image is written.
"""
