"""Measures Quarterdeck, and other systems beside it, in one run on one machine."""
