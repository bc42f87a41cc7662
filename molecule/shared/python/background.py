"""Work that goes on in threads for as long as a block does."""

from __future__ import annotations

import threading
import types
import typing as t


class Background:
    """Each work is a function and its arguments; it returns soon after `_end` was set."""

    def __init__(self, work: t.Iterable[tuple[t.Callable[..., None], tuple[t.Any, ...]]]) -> None:
        self._end = threading.Event()
        self._threads = [threading.Thread(target=function, args=arguments) for function, arguments in work]

    def __enter__(self) -> t.Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
