#!/usr/bin/env python3
"""An interpreter that answers every module as whoever is root on a host likes: set it as ansible_python_interpreter.

The environment's LIE is a file with the answer in JSON; the program that it was to run is never run.
"""

import os
import pathlib
import sys

sys.stdout.write(pathlib.Path(os.environ["LIE"]).read_text(encoding="utf-8"))
