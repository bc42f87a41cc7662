"""Keeps what every task of a run returns, as AWX does: one line of JSON for each in the file KEPT_RESULTS."""

from __future__ import annotations

import os
import pathlib
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: keep_results
type: aggregate
short_description: Keeps the results of tasks
description: For tests.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "keep_results"

    def _keep(self, result: t.Any, **_options: t.Any) -> None:
        with pathlib.Path(os.environ["KEPT_RESULTS"]).open("a", encoding="utf-8") as file:
            file.write(f"{self._dump_results(result._result, indent=None)}\n")

    v2_runner_on_ok = v2_runner_on_failed = v2_runner_on_unreachable = v2_runner_on_skipped = _keep
    v2_runner_item_on_ok = v2_runner_item_on_failed = _keep
