"""Engines that leave the CA that they trust, because somebody says so: who is shut out is said before it happens."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.bulkhead.docker.plugins.module_utils._tls import x509
from helpers.fake_fleet import ENGINES, Fleet


def test_whoever_is_shut_out_is_named_before_the_first_change_and_in_the_report(secured: Fleet, tmp_path: Path) -> None:
    fleet = secured.copy(tmp_path / "fleet")
    old = x509.described(x509.load_bundle((fleet.root / "home/.bulkhead/ca/ca.pem").read_text(encoding="ascii")))
    for name in ENGINES:
        file = fleet.root / "hosts" / name / "state.json"
        file.write_text(json.dumps({**fleet.holds(name), "leaves": old}), encoding="utf-8")
    fleet.users = ()  # jenkins is in the record of the CA that goes, and in no inventory

    run = fleet.play(
        "site",
        docker_ca_dir="~/.bulkhead/other",
        docker_engine_replace_ca=True,
        docker_client_replace_ca=True,
    )

    assert not run.failed, run.output
    said = " ".join(run.output.split())
    sentence = f"docker_engine_replace_ca takes {old} from web1, web2: whoever has an identity of that CA alone is shut"
    assert said.count(sentence) == 2
    assert said.count("known are jenkins (in the record of the CA host); there may be others") == 2
    assert said.index(sentence) < said.index("PLAY [Ensure the CA]") < said.rindex(sentence)
    assert {fleet.holds(name)["ca"].count("-----END") for name in ENGINES} == {1}
