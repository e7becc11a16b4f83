"""The place where notes are kept."""

import unittest

from app.notes import Notes


class NotesTest(unittest.TestCase):
    def test_numbers_count_from_one(self):
        notes = Notes()
        self.assertEqual([notes.add("a"), notes.add("b")], [1, 2])
        self.assertEqual([notes.get(n) for n in range(4)], [None, "a", "b", None])
