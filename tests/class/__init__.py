"""A class of students, made by a script from solutions/: honest, wrong, damaged and hostile.

``python -m tests.class.demo`` (``make grade-demo``) grades it and prints expected and given marks.
"""
