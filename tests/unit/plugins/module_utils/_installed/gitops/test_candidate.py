"""Which revision is accepted, asked of git and ssh-keygen themselves."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops import candidate
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops.candidate import Choice
from ansible_collections.bulkhead.docker.plugins.module_utils._installed.gitops.errors import CommandError, FetchError

if t.TYPE_CHECKING:
    from .conftest import Lab

NOW = 1_800_000_000.0
FIRST, LATER = "2027-01-01T12:00:00Z", "2027-01-02T12:00:00Z"


def choose(lab: Lab, accepted: t.Any = None, tags: t.Mapping[str, str] | None = None, **changes: t.Any) -> Choice:
    repository = lab.repository(**changes)
    repository.fetch()
    return candidate.choose(repository, lab.settings(**changes), accepted, tags or {}, NOW)


def test_a_signed_commit_is_accepted_with_its_signer_and_once(lab: Lab) -> None:
    head = lab.clone.commit("One", date=FIRST, one="1")
    lab.push()
    found = choose(lab)
    assert found.refused == []
    assert found.revision is not None
    assert (found.revision.commit, found.revision.signer) == (head, "alice@example.com")
    assert choose(lab, found.revision).revision == found.revision


@pytest.mark.parametrize(
    ("key", "date", "sentence"),
    [
        (None, FIRST, "is not signed"),
        ("mallory", FIRST, "which docker_gitops_signers does not have"),
        ("bob", FIRST, "outside of the dates"),
        ("bob", "2025-01-01T12:00:00Z", "outside of the dates"),  # git says G
        ("alice", "2028-01-01T12:00:00Z", "in the future"),
    ],
)
def test_a_commit_is_refused(lab: Lab, key: str | None, date: str, sentence: str) -> None:
    lab.clone.commit("Refused", key=key, date=date)
    lab.push()
    found = choose(lab)
    assert found.revision is None
    assert [sentence in text for text in found.refused] == [True]


def test_git_says_good_of_the_backdated_commit_that_is_refused(lab: Lab) -> None:
    head = lab.clone.commit("Backdated", key="bob", date="2025-01-01T12:00:00Z")
    lab.push()
    assert choose(lab).revision is None
    assert lab.repository().text("log", "--no-walk", "--format=%G?", head) == "G"


def test_a_signature_of_another_format_or_for_another_content_is_refused(lab: Lab) -> None:
    good = lab.clone.commit("Good", date=FIRST)
    block = "-----BEGIN PGP SIGNATURE-----\n\niHUEABYKAB0=\n-----END PGP SIGNATURE-----"
    lab.clone.commit("Unsigned", key=None, date=LATER)
    forged = lab.clone.with_signature(lab.clone.head, block)
    lab.push(f"{forged}:refs/heads/main")
    assert "OpenPGP" in choose(lab).refused[0]
    raw = lab.clone.git("cat-file", "commit", good)
    start = raw.index("gpgsig ") + len("gpgsig ")
    other = raw[start : raw.index("\n\n")].replace("\n ", "\n")
    forged = lab.clone.with_signature(lab.clone.head, other)
    lab.push(f"{forged}:refs/heads/main")
    found = choose(lab)
    assert found.revision is None
    assert len(found.refused) == 1


def test_a_signature_for_files_is_none_for_git(lab: Lab) -> None:
    text = lab.places.allowed_signers.read_text(encoding="utf-8")
    assert text.count('namespaces="git"') == 2
    lab.places.allowed_signers.write_text(text.replace('namespaces="git"', 'namespaces="file"'), encoding="utf-8")
    lab.clone.commit("Good", date=FIRST)
    lab.push()
    found = choose(lab)
    assert found.revision is None
    assert "another purpose than git" in found.refused[0]


def test_a_key_that_only_the_settings_lack_is_refused(lab: Lab) -> None:
    lab.clone.commit("Good", date=FIRST)
    lab.push()
    repository = lab.repository()
    repository.fetch()
    settings = lab.settings()
    fewer = dataclasses.replace(settings, signers=settings.signers[1:])
    found = candidate.choose(repository, fewer, None, {}, NOW)
    assert found.revision is None
    assert "docker_gitops_signers does not have" in found.refused[0]


def test_history_goes_one_way(lab: Lab) -> None:
    first = lab.clone.commit("One", date=FIRST, one="1")
    second = lab.clone.commit("Two", date=LATER, one="2")
    lab.push()
    accepted = choose(lab).revision
    assert accepted is not None
    lab.push(f"{first}:refs/heads/main")
    assert "is older than" in choose(lab, accepted).refused[0]
    lab.clone.git("reset", "--quiet", "--hard", first)
    lab.clone.commit("Another two", date="2027-01-03T12:00:00Z", one="3")
    lab.push()
    found = choose(lab, accepted)
    assert found.revision == accepted
    assert "history was rewritten" in found.refused[0]
    lab.clone.git("reset", "--quiet", "--hard", second)
    lab.clone.commit("Earlier", date=FIRST, one="4")
    lab.push()
    assert "an earlier date" in choose(lab, accepted).refused[0]


def test_tags_are_verified_as_what_they_are_called(lab: Lab) -> None:
    lab.clone.commit("One", key=None, date=FIRST, one="1")
    first = lab.clone.tag("v1", date=FIRST)
    lab.push("refs/tags/v1")
    found = choose(lab, verify="tag")
    assert found.revision is not None
    assert (found.refused, found.revision.tag, found.tags) == ([], "v1", {"v1": first})
    accepted = found.revision

    lab.clone.commit("Two", key=None, date=LATER, one="2")
    lab.clone.tag("v2", key=None, date=LATER)
    lab.clone.git("tag", "v3")
    lab.clone.tag("v4", key="mallory", date=LATER)
    lab.clone.tag("v1", "alice", LATER, "--force")
    lab.push("refs/tags/v2", "refs/tags/v3", "refs/tags/v4", "refs/tags/v1", f"{first}:refs/tags/v6")
    found = choose(lab, accepted, found.tags, verify="tag")
    assert found.revision == accepted
    said = " ".join(found.refused)
    assert len(found.refused) == 4, said  # the old tag under a new name is old
    for sentence in ("v1 was moved", "v2 is not signed", "v3 is not signed", "v4 is signed with"):
        assert f"tag {sentence}" in said

    lab.push(f"{lab.clone.tag('v7', date=LATER)}:refs/tags/v8", f"{first}:refs/tags/v1")
    assert "the tag object of 'v7' under another name" in " ".join(
        choose(lab, accepted, found.tags, verify="tag").refused
    )
    lab.push("refs/tags/v7", ":refs/tags/v8", ":refs/tags/v2", ":refs/tags/v3", ":refs/tags/v4")
    newest = choose(lab, accepted, found.tags, verify="tag")
    assert newest.revision is not None
    assert (newest.refused, newest.revision.tag) == ([], "v7")


def test_what_an_unsigned_tag_calls_itself_moves_no_cursor(lab: Lab) -> None:
    head = lab.clone.commit("One", key=None, date=FIRST)
    raw = f"object {head}\ntype commit\ntag \x1b[2Jv1\ntagger A <a@example.com> 1 +0000\n\nx\n".encode()
    tag = lab.clone.git("hash-object", "-t", "tag", "-w", "--literally", "--stdin", given=raw)
    lab.push(f"{tag}:refs/tags/v1")
    (said,) = choose(lab, verify="tag").refused
    assert said.startswith("tag v1 is the tag object of '\\x1b[2Jv1' under another name"), said


def test_a_server_with_any_number_of_tags_does_not_keep_the_engine_busy(lab: Lab) -> None:
    head = lab.clone.commit("One", key=None, date=FIRST)
    for number in range(60):
        lab.clone.git("update-ref", f"refs/tags/v{number}", head)
    lab.push("refs/tags/*")
    found = choose(lab, verify="tag")
    assert len(found.refused) == 51
    assert "the others were not read" in found.refused[-1]


def test_a_server_that_is_gone_or_has_no_such_branch_is_said(lab: Lab) -> None:
    with pytest.raises(FetchError, match="nothing could be fetched from file:"):
        lab.repository().fetch()
    lab.clone.commit("One", date=FIRST)
    lab.push()
    with pytest.raises(FetchError, match="couldn't find remote ref"):
        lab.repository(branch="nowhere").fetch()
    over_ssh = lab.repository(url="ssh://git.example.com/x")
    over_ssh._make()
    with pytest.raises(CommandError, match="transport 'file' not allowed"):
        over_ssh._git("fetch", lab.settings().url)


def test_a_damaged_repository_and_locks_of_a_killed_git_are_mended(lab: Lab) -> None:
    head = lab.clone.commit("One", date=FIRST, one="1")
    lab.push()
    repository = lab.repository()
    repository.fetch()
    for path in ("HEAD.lock", "refs/candidates/branch.lock", "objects/tmp_half"):
        (repository.folder / path).touch()
    repository.fetch()
    for path in [*repository.folder.glob("objects/??/*"), *repository.folder.glob("objects/pack/*")]:
        path.unlink()
    lab.clone.commit("Two", date=LATER, one="2")
    lab.push()
    repository.fetch()
    assert repository.holds("cat-file", "-e", head)
