"""Timings of every op family against every installed peer, on the same arrays, in one run.

``python -m bench`` in a checkout, ``pyfast bench`` from an installed wheel (the same code).
"""
