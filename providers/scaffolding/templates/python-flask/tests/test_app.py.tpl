"""The routes, asked as a browser would."""

import unittest

from app.web import create_app


class AppTest(unittest.TestCase):
    def setUp(self):
        self.client = create_app().test_client()

    def test_it_greets(self):
        self.assertEqual(self.client.get("/").text, "Hello, World!")

    def test_it_is_up(self):
        self.assertEqual(self.client.get("/healthz").status_code, 200)

    def test_a_note_is_kept(self):
        added = self.client.post("/notes", json={"text": "milk"})
        self.assertEqual((added.status_code, added.json), (201, {"id": 1, "text": "milk"}))
        self.assertEqual(self.client.get("/notes/1").json, {"id": 1, "text": "milk"})
        self.assertEqual(self.client.get("/notes").json, [{"id": 1, "text": "milk"}])

    def test_a_note_that_is_not_there_is_404(self):
        for number in (0, 1):
            self.assertEqual(self.client.get(f"/notes/{number}").status_code, 404)

    def test_a_note_needs_text(self):
        for body in ({}, {"text": " "}, {"text": 1}):
            self.assertEqual(self.client.post("/notes", json=body).status_code, 400)
        self.assertEqual(self.client.post("/notes", data="nonsense").status_code, 400)
