"""Grading with nbgrader: how notebooks are released, repaired, judged and marked.

nbgrader's gradebook, exchange, formgrader and feedback stay; this package plugs into them. It may
use the checker and nothing of the engine.
"""
