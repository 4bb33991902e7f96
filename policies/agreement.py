"""Whether a student's answer is as good as the teacher's."""

from __future__ import annotations


def agree(student: str, teacher: str) -> bool:
    """Exact label: the same text, white space around it aside.

    >>> agree("Yes", " Yes\\n")
    True
    """
    return student.strip() == teacher.strip()
