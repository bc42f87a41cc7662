"""Somebody who asks a deployed service all the time, and remembers each answer."""

from __future__ import annotations

import http.client
import typing as t

from background import Background


class Requests(Background):
    """Asks each engine's service twenty times a second until the block ends."""

    def __init__(self, addresses: t.Mapping[str, str], path: str) -> None:
        self.answers: dict[str, list[str]] = {name: [] for name in addresses}
        self._path = path
        super().__init__((self._ask, pair) for pair in addresses.items())

    def _ask(self, name: str, address: str) -> None:
        while not self._end.wait(0.05):
            connection = http.client.HTTPConnection(address, 8080, timeout=10)
            try:
                connection.request("GET", self._path)
                answer = connection.getresponse()
                text = answer.read().decode().strip()
                self.answers[name].append(text if answer.status == 200 else f"failed: {answer.status}")
            except OSError as error:
                self.answers[name].append(f"failed: {error}")
            finally:
                connection.close()

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        return {name: {one: found.count(one) for one in set(found)} for name, found in self.answers.items()}
