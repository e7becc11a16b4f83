"""Notes in memory; safe for use from several threads."""

import threading


class Notes:
    """Texts by number, counted from 1."""

    def __init__(self):
        self._lock = threading.Lock()
        self._texts = []

    def add(self, text):
        """Keep a text; its number."""
        with self._lock:
            self._texts.append(text)
            return len(self._texts)

    def get(self, number):
        """The text of that number, None if there is none."""
        with self._lock:
            return self._texts[number - 1] if 1 <= number <= len(self._texts) else None

    def all(self):
        """Every note with its number."""
        with self._lock:
            return [{"id": number, "text": text} for number, text in enumerate(self._texts, 1)]
