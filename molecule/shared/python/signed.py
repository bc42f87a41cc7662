"""A developer's clone of a repository, whose commits and tags are signed with any key or with none."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess


class Clone:
    """A fresh repository in ``folder``; keys are the files of ``ssh-keygen`` beside it."""

    def __init__(self, folder: pathlib.Path, keys: pathlib.Path, **settings: str) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder, self.keys = folder, keys
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            **settings,
        }
        self.git("init", "--quiet", "--initial-branch", "main")
        self.git("config", "user.name", "Somebody")
        self.git("config", "user.email", "somebody@example.com")
        self.git("config", "gpg.format", "ssh")

    def git(self, *arguments: str, date: str = "", given: bytes | None = None) -> str:
        dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date} if date else {}
        done = subprocess.run(
            ["git", "-C", str(self.folder), *arguments],
            env={**self.environment, **dates},
            capture_output=True,
            input=given if given is not None else b"",
            check=False,
        )
        assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr.decode()}"
        return done.stdout.decode().strip()

    def write(self, **files: str | None) -> None:
        """Files by their paths; None removes one."""
        for name, content in files.items():
            path = self.folder / name
            if content is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content, encoding="utf-8")

    def commit(self, message: str, key: str | None = "alice", date: str = "", **files: str | None) -> str:
        self.write(**files)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message, *self._signed(key, "-S"), date=date)
        return self.head

    def tag(self, name: str, key: str | None = "alice", date: str = "", *more: str) -> str:
        arguments = self._signed(key, "--sign") if key else ["--annotate"]
        self.git("tag", *arguments, "--message", name, *more, name, date=date)
        return self.git("rev-parse", name)

    def _signed(self, key: str | None, option: str) -> list[str]:
        if key is None:
            return []
        self.git("config", "user.signingkey", str(self.keys / key))
        return [option]

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def with_signature(self, commit: str, block: str) -> str:
        """The same commit with another signature, such as one of OpenPGP."""
        raw = self.git("cat-file", "commit", commit)
        header, _, message = raw.partition("\n\n")
        folded = block.strip().replace("\n", "\n ")
        content = f"{header}\ngpgsig {folded}\n\n{message}\n"
        return self.git("hash-object", "-t", "commit", "-w", "--stdin", given=content.encode())

    def unsigned_content(self, commit: str) -> bytes:
        """What a signature of this commit, which has none, would cover."""
        return f"{self.git('cat-file', 'commit', commit)}\n".encode()
