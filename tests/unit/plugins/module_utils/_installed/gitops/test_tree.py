"""Files are what the repository has, byte by byte, and nothing else of it acts."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops import tree
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops.errors import ProjectError

if t.TYPE_CHECKING:
    from .conftest import Lab


def exported(lab: Lab, path: str = "web") -> pathlib.Path:
    lab.push()
    repository = lab.repository()
    repository.fetch()
    folder = lab.places.trees / "web" / "tree"
    tree.export(repository, tree.identifier(repository, lab.clone.head, path), folder)
    return folder


def test_attributes_change_nothing(lab: Lab) -> None:
    content = "$Id$ $Format:%H$\none\r\ntwo\n"
    attributes = "* ident export-subst text eol=crlf filter=x\ndata/file export-ignore\n"
    lab.clone.commit("One", **{"web/data/file": content, "web/run": "#!/bin/sh\n"})
    (lab.clone.folder / "web/run").chmod(0o755)
    (lab.clone.folder / "web/.gitattributes").write_text(attributes, encoding="utf-8")
    lab.clone.git("update-index", "--add", "web/run", "web/.gitattributes")
    lab.clone.git("commit", "--quiet", "--message", "Attributes")
    folder = exported(lab)
    blob = lab.clone.git("rev-parse", "HEAD:web/data/file")
    assert tree._name_of((folder / "data/file").read_bytes(), blob) == blob
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()} == {
        ".gitattributes": "0o644",
        "run": "0o755",
        "data": "0o755",
    }


@pytest.mark.parametrize(("mode", "kind"), [("120000", "a symbolic link"), ("160000", "a submodule")])
def test_what_is_no_file_is_refused(lab: Lab, mode: str, kind: str) -> None:
    lab.clone.commit("One", **{"web/file": "1"})
    blob = lab.clone.head if mode == "160000" else lab.clone.git("hash-object", "-w", "--stdin", given=b"/etc/shadow")
    lab.clone.git("update-index", "--add", "--cacheinfo", f"{mode},{blob},web/thing")
    lab.clone.git("commit", "--quiet", "--message", "Thing")
    with pytest.raises(ProjectError, match=f"'thing' is {kind}"):
        exported(lab)
    assert not (lab.places.trees / "web").exists()


@pytest.mark.parametrize("path", ["nowhere", "web/file", "thing"])
def test_a_path_that_is_no_folder_is_refused(lab: Lab, path: str) -> None:
    lab.clone.commit("One", **{"web/file": "1"})
    lab.clone.git("update-index", "--add", "--cacheinfo", f"160000,{lab.clone.head},thing")
    lab.clone.git("commit", "--quiet", "--message", "Thing")
    with pytest.raises(ProjectError, match="no folder"):
        exported(lab, path)


def test_what_was_changed_is_put_right_in_its_place(lab: Lab) -> None:
    lab.clone.commit("One", **{"web/a/one": "1", "web/b/two": "2", "web/three": "3", "web/four": "4"})
    folder = exported(lab)
    before = folder.stat().st_ino
    (folder / "a/one").write_text("changed", encoding="utf-8")
    (folder / "b/two").unlink()
    (folder / "b").rmdir()
    (folder / "b").symlink_to(folder / "a")
    (folder / "three").chmod(0o666)
    (folder / "four").unlink()
    (folder / "four").mkdir()
    (folder / "more").write_text("a container's", encoding="utf-8")
    repository = lab.repository()
    wanted = tree.files(repository, tree.identifier(repository, lab.clone.head, "web"))
    assert len(tree.changed(wanted, folder)) == 4
    exported(lab)
    assert tree.changed(wanted, folder) == []
    assert folder.stat().st_ino == before  # containers have it mounted
    assert (folder / "more").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["tree"]


def test_the_whole_repository_is_a_path_as_well(lab: Lab) -> None:
    lab.clone.commit("One", **{"web/file": "1", "file": "2"})
    assert sorted(path.name for path in exported(lab, ".").iterdir()) == ["file", "web"]
