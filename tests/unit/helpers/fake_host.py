"""A host of which nothing is real: the Python interpreter of one, which answers Ansible's modules and runs none.

    fake_host.py FOLDER

FOLDER holds what the host keeps (``state.json``), how it answers (``kind``), and what it was asked (``asked.jsonl``).
An OS user of the host, as which fake_sudo.sh starts this, has a folder of its own beside it, ``USER@HOST``.
``kind`` is one word, or several with ``@PHASE`` for a host that lies in another way once the CA has entered that phase.
``answers.json`` in the folder above has an answer of the right types for every module, ``request.pem`` a certificate
request, ``foreign.pem`` one that asks for another host's names and another usage.
An honest host does as it is told; a liar changes what it answers to the same.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import pathlib
import re
import sys
import typing as t

Answer = dict[str, t.Any]

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFYtnIVBqcBPtfFhWYcl2hB2DBfUjMCEtF2oqJjxA1nd"
# What nobody may evaluate, print as it is, or take for a line of its own.
HOSTILE = "{{ lookup('pipe', 'touch PWNED') }}\x1b[2J\r\n\u009b31mweb2 " + "x" * 5000
# Variables of the run, as whoever answers would like them.
POISON = {
    "ansible_become_user": "root",
    "ansible_host": "192.0.2.66",
    "docker_ca_dir": "/nonexistent/ca",
    "docker_ca_host": "web1",
    "docker_ca_state": {
        "bundle": "mine",
        "client_bundle": "mine",
        "existing": None,
        "elsewhere": False,
        "revoked": [],
        "phase": "none",
    },
    "docker_client_identities": [{"name": "mallory"}],
    "docker_engine_address": "*=exec=touch PWNED;true",
    "docker_engine_names": ["web2", "*.example.com"],
    "docker_engine_valid_days": 40000,
    "docker_plan": {},
    "docker_ca_gathered": {
        "bundle": "mine",
        "client_bundle": "mine",
        "existing": None,
        "elsewhere": False,
        "revoked": [],
        "phase": "none",
    },
    "docker_due": {"ca": False, "clients": [], "engines": [], "accounts": [], "certificates": {}, "incomplete": []},
    "docker_engine_failed": True,
    "docker_engine_unprepared": True,
    "docker_ssh_users": [{"name": "docker-mallory", "public_keys": [KEY]}],
    "docker_verify_host": "web1",
}
# How the CA's phases look to a host: certificates in the bundle, and whether the first is the one that it knew first.
PHASES = {(1, True): "none", (2, True): "trust", (2, False): "reissue", (1, False): "retire"}
# Host keys that would count for others, and other lines than keys.
HOST_KEYS = (
    f"{KEY}\nweb2 {KEY}",
    f"{KEY} web1\r\n* {KEY}",
    f"* {KEY}",
    f"192.0.2.2,web2 {KEY}",
    f"@cert-authority * {KEY}",
    f'command="id" {KEY}',
    "ssh-ed25519 AAAA",
)
# What an engine would like to be called, and the one name that is nobody else's.
OWN_NAME = "own.example.com"
NAMES = (
    "web2",
    "WEB2",
    "web2.",
    "*",
    "*.example.com",
    "192.0.2.2",
    "192.0.2.02",
    "ops1",
    "a,DNS:web2",
    HOSTILE,
    OWN_NAME,
)
# What an OS user says of the public key of an identity, by the kind of its lie.
PUBLIC_KEYS: dict[str, t.Callable[[Answer], list[Answer]]] = {
    "options": lambda own: [{**own, "public_key": f'command="id",from="*" {KEY}'}],
    "lines": lambda own: [{**own, "public_key": f"{KEY} x\n{KEY}"}],
    "account": lambda own: [{**own, "account": "docker-ops1"}],
    "name": lambda own: [{**own, "name": "ops1"}],
    "more": lambda own: [own, {"name": "ops1", "account": "docker-ops1", "public_key": KEY}],
    "nothing": lambda own: [{**own, "public_key": HOSTILE}],
    "nobody": lambda own: [],
}
# By the kind of a host that is full, the module that fails there; the last one in check mode, too.
REFUSALS = {
    "requestless": "docker_certificate_request",
    "changeless": "docker_daemon_config",
    "closed": "docker_ssh_access",
    "clinging": "docker_identity",
}
# The lists of text in answers.
_TEXTS = ("certificate_reasons", "findings", "host_keys", "hosts", "kept", "reasons", "removed", "users")


def asked(program: str) -> tuple[str, Answer]:
    """The module that Ansible sent, and its options."""
    line = next(line for line in program.splitlines() if '"ANSIBLE_MODULE_ARGS"' in line)
    text = ast.literal_eval(line.partition("=")[2].strip().rstrip(","))
    options = json.loads(text)["ANSIBLE_MODULE_ARGS"]
    return options["_ansible_module_name"], options


def first(bundle: str) -> str:
    """The certificate that signs."""
    return bundle.partition("-----END")[0]


def certificates(bundle: str) -> set[str]:
    return {text for text in bundle.split("-----END CERTIFICATE-----\n") if text.strip()}


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def enter_phase(bundle: str, state: Answer) -> None:
    """Keep the phase that the CA's bundle shows to a host."""
    if bundle:
        known = state.setdefault("first", first(bundle))
        state["phase"] = PHASES.get((bundle.count("-----END"), known == first(bundle)), "none")  # not of several groups


def honest(module: str, options: Answer, state: Answer, folder: pathlib.Path) -> Answer:
    """What a host says that does what it is asked; ``state`` is what it keeps."""
    short = module.rpartition(".")[2]
    known = json.loads((folder.parent / "answers.json").read_text(encoding="utf-8"))
    answer = {"changed": False, **known.get(short, {})}
    special = {
        "docker_daemon_config": _daemon_config,
        "docker_identity_info": _identity_info,
        "docker_identity": _identity,
        "docker_contexts": _contexts,
        "docker_endpoint_info": _endpoints,
        "docker_ssh_endpoint_info": _endpoints,
        "docker_gateway": lambda *_: {"gateway": bool(state.get("gateway")), "ended": 0},
        "docker_gateway_info": _gateway_info,
        "docker_ssh_client": _ssh_client,
        "docker_ssh_access": _ssh_access,
    }
    if short in special:
        answer.update(special[short](options, state))
    elif short == "docker_engine_info":
        answer["findings"] = []
        answer["engine"].update(version="28.5.2", running=True)
        answer["certificate"].update(days_left=364, not_after="2030-01-31T12:00:00Z")
        bundle = options.get("ca_certificate") or state.get("ca", "")
        others = certificates(state.get("ca", "")) - certificates(bundle)
        answer["other_cas"] = ", ".join(f"CN=CA {hash_of(text)}" for text in sorted(others))
    elif short == "docker_certificate_request":
        answer.update(changed=True, request=(folder.parent / "request.pem").read_text(encoding="ascii"))
    elif short == "file":
        answer.update(changed=True)
    for entry in answer.get("requests") or ():
        entry["request"] = (folder.parent / "request.pem").read_text(encoding="ascii")
    return answer


def _daemon_config(options: Answer, state: Answer) -> Answer:
    check = options["_ansible_check_mode"]
    base: Answer = {"version": "28.5.2", "running": True, "ssh_accounts": state.get("ssh", False)}
    gateway = options.get("gateway")
    base["ssh_server"] = {"port": 22, "host_keys": [KEY]} if state.get("ssh") else None
    if options["state"] == "absent" if "state" in options else False:
        changed = bool(state)
        state.clear()
        return {**base, "changed": changed, "would_change": changed, "certificate": None}
    bundle = options["ca_certificate"]
    issuers = options.get("server_ca") or bundle
    reasons = [] if state.get("signer") == first(issuers) != "" else ["it is not from this CA"]
    if options.get("renew_force"):
        reasons = ["it is renewed in any case"]
    given = options.get("server_certificate") or options.get("certificate_path")
    if reasons and not given and not check:
        return {**base, "failed": True, "msg": f"a server certificate is due and none is given: {'; '.join(reasons)}."}
    would = bool(reasons or options.get("server_certificate")) or state.get("ca") != bundle
    would = would or state.get("gateway") != gateway
    changed = would
    if changed and not check:
        state.update(ca=bundle, signer=first(issuers), gateway=gateway)
    signed = {
        "not_after": "2030-01-31T12:00:00Z",
        "days_left": 364,
        "issued_by_ca": state.get("signer") == first(issuers),
    }
    certificate = signed if state.get("signer") else None
    base.update(changed=changed, would_change=would, certificate_reasons=reasons, certificate=certificate)
    base["replaced_ca"] = state.get("leaves", "") if options.get("replace_ca") else ""
    return base


def pair_of(entry: Answer) -> str:
    """One of the pairs of an identity, as the folder of it is called."""
    return "/".join(filter(None, (entry["name"], entry.get("group"))))


def _identity_info(options: Answer, state: Answer) -> Answer:
    bundle, held = options["ca_certificate"], state.get("identities", {})
    found = []
    signers = state.setdefault("signers", {})
    for entry in options["identities"]:
        name = pair_of(entry)
        signers[name] = first(bundle if entry.get("client_ca") is None else entry["client_ca"])
        if held.get(name) == "new":  # by whichever CA has signed it; there may have been none when it was asked for
            held[name] = signers[name]
        reasons = [] if held.get(name) == signers[name] != "" else ["it is not from this CA"]
        pairs = [other.partition("/")[2] for other in held if other.startswith(f"{entry['name']}/")]
        found.append(
            {
                "name": entry["name"],
                "group": entry.get("group", ""),
                "left_groups": [] if entry.get("group") else sorted({*pairs} - {*entry.get("groups", ())}),
                "folder": f"/home/u/.bulkhead/identities/{name}",
                "pending": f"/home/u/.bulkhead/pending/{name}",
                "exists": name in held,
                "days_left": 364 if name in held else None,
                "not_after": "2030-01-31T12:00:00Z" if name in held else "",
                "reasons": ["it is renewed in any case"] if options.get("force") else reasons,
                "new_key": bool(options.get("force")) or bool(reasons),
                "findings": [],
                "other_ca": "",
                "issued_by_ca": held.get(name) == signers[name] != "",
                "ca_outdated": state.get("ca") != bundle,
                "repairs": [],
            }
        )
    answer = {"home": "/home/u", "user": "u", "identities": found}
    if "contexts" in options:
        due = any(one["reasons"] or one["ca_outdated"] for one in found)
        answer["contexts_right"] = not due and state.get("contexts") == _declared(options)
    return answer


def _contexts(options: Answer, state: Answer) -> Answer:
    changed = state.get("contexts") != _declared(options)
    if not options["_ansible_check_mode"]:
        state["contexts"] = _declared(options)
    return {"changed": changed}


def _declared(options: Answer) -> list[list[str]]:
    return [[one["name"], one["docker_host"]] for one in options["contexts"]]


def _identity(options: Answer, state: Answer) -> Answer:
    held = state.setdefault("identities", {})
    for entry in options["identities"]:
        if options.get("state") == "absent":
            (dict(held) if options["_ansible_check_mode"] else held).pop(entry["name"], None)
        elif entry.get("certificate"):
            held[pair_of(entry)] = state.get("signers", {}).get(pair_of(entry)) or "new"
        elif entry.get("certificate_path"):
            held[pair_of(entry)] = first(options.get("ca_certificate") or state["ca"])
        for group in entry.get("remove_groups", ()):
            held.pop(f"{entry['name']}/{group}", None)
    if options.get("ca_certificate"):
        state["ca"] = options["ca_certificate"]
    wanted = [entry for entry in options["identities"] if entry.get("request", "none") != "none"]
    requests = [{"name": entry["name"], "group": entry.get("group", ""), "request": ""} for entry in wanted]
    return {"changed": True, "requests": requests}


def _endpoints(options: Answer, state: Answer) -> Answer:
    del state
    plain = dict.fromkeys(("engine_version", "api_version", "certificate", "acceptable_cas"))
    lists: Answer = {"attempts": [], "plain_ports": [], "refused": {}, "server_verified": True}
    return {
        "ok": True,
        "endpoints": [
            {"ok": True, "findings": [], "docker_host": "", "address": "", "account": "", **plain, **entry, **lists}
            for entry in options["endpoints"]
        ],
    }


def _gateway_info(options: Answer, state: Answer) -> Answer:
    del state
    found = [{"name": one["name"], "ok": True, "findings": [], "calls": []} for one in options["endpoints"]]
    return {"endpoints": found}


def _ssh_client(options: Answer, state: Answer) -> Answer:
    del state
    unknown = [engine["name"] for engine in options.get("engines") or [] if not engine["host_keys"]]
    if unknown and options.get("require_host_keys"):
        return {"failed": True, "msg": f"the SSH host keys of {', '.join(unknown)} are not known"}
    return {
        "public_keys": [
            {"name": entry["name"], "account": entry["account"], "public_key": KEY} for entry in options["identities"]
        ]
    }


def _ssh_access(options: Answer, state: Answer) -> Answer:
    present, known = options.get("state", "present") == "present", state.get("accounts") or []
    leaving = options.get("absent_names") or []
    staying = [user for user in known if leaving != ["all"] and user["name"] not in leaving]
    wanted = _with_kept(options.get("users") or [], known, options.get("keep") or []) if present else staying
    would = state.get("accounts") != wanted if present else known != wanted
    if not options["_ansible_check_mode"]:
        state.update(ssh=present or bool(staying), accounts=wanted)
    users = [user["name"] for user in wanted]
    removed = [user["name"] for user in known if user["name"] not in users]
    told: Answer = {"port": 22, "host_keys": [KEY] if present else [], "users": users, "removed": removed}
    return {**told, "would_change": would, "changed": would, "confirm_within": 0}


def _with_kept(users: list[Answer], known: list[Answer], keep: list[str]) -> list[Answer]:
    """Accounts that are kept have the keys that they had."""
    asked = {user["name"] for user in users}
    before = {
        user["name"]: user for user in known if user["name"] in keep or ("*" in keep and user["name"] not in asked)
    }
    merged = [
        {**user, "public_keys": [*dict.fromkeys([*(user.get("public_keys") or []), *old["public_keys"]])]}
        if (old := before.pop(user["name"], None))
        else user
        for user in users
        if user.get("state") != "absent"
    ]
    return [*merged, *before.values()]


def poisoned(answer: Answer) -> Answer:
    """Variables and statistics beside an honest answer."""
    return {**answer, "ansible_facts": POISON, "ansible_stats": {"data": {"poison": 1}, "per_host": False}}


def hostile(value: t.Any, key: str = "") -> t.Any:
    """The right types, and nothing that anybody should use."""
    if isinstance(value, dict):
        return {name: hostile(entry, name) for name, entry in value.items()}
    if isinstance(value, list):
        texts = [*HOST_KEYS, HOSTILE] if key in _TEXTS else []
        return [*(hostile(entry, key) for entry in value), *texts]
    if isinstance(value, bool) or key in ("name", "account", "csr", "public_key", "host_keys", "other_ca", "group"):
        return value
    return HOSTILE if isinstance(value, str) else 10**30 if isinstance(value, int) else value


def broken(value: t.Any) -> t.Any:
    """Other types everywhere."""
    if isinstance(value, dict):
        return {name: broken(entry) for name, entry in value.items()}
    if isinstance(value, bool):
        return HOSTILE
    return {"a": [None, HOSTILE]} if isinstance(value, (str, int)) else 10**30


def asking_for_more(answer: Answer, folder: pathlib.Path) -> Answer:
    """With requests for another host's names and another usage, each for the identity that it was asked for."""
    wanted = (folder.parent / "foreign.pem").read_text(encoding="ascii")
    if "request" in answer:
        answer["request"] = wanted
    if "requests" in answer:
        answer["requests"] = [
            {"name": name, "group": "", "request": wanted} for name in ("admin", "ops1", "build1", "jenkins", "web2")
        ]
    return answer


def sign_this(kind: str, folder: pathlib.Path) -> Answer:
    """Says itself what its certificate is to say, beside a request that is none or a failure."""
    _, name, usage, *failed = kind.split("-")
    request = (folder.parent / "request.pem").read_text(encoding="ascii")
    wanted = {"name": name, "usage": usage, "names": ["DNS:web2", "DNS:evil.example.com"], "valid_days": 2900}
    return {"changed": True, "failed": bool(failed), "request": "", "sign": {**wanted, "request": request}}


def lie(kind: str, module: str, answer: Answer, folder: pathlib.Path, check_mode: bool) -> Answer:
    if kind == "honest":
        return answer
    ours = module.startswith("bulkhead.docker.")
    if kind == "poisoned" or (kind == "hostile" and not ours):
        return poisoned(asking_for_more(answer, folder))
    if kind == "hostile":
        return asking_for_more({name: hostile(value, name) for name, value in answer.items()}, folder)
    if kind == "keyless":
        server = answer.get("ssh_server")
        lies = {"host_keys": list(HOST_KEYS)} if "host_keys" in answer else {}
        return {**answer, **lies, **({"ssh_server": {**server, "host_keys": list(HOST_KEYS)}} if server else {})}
    if kind == "late":
        certificate, told = answer.get("certificate"), answer.get("identities", [])
        kept = [{**entry, "reasons": [], "issued_by_ca": False} for entry in told if "issued_by_ca" in entry]
        late = {"certificate": {**certificate, "issued_by_ca": False}} if certificate else {}
        return {**answer, **late, **({"identities": kept} if kept else {})}
    if kind == "names":
        return {**answer, **({"host_names": list(NAMES)} if "host_names" in answer else {})}
    if kind == "elsewhere":
        claims = {"other_cas": HOSTILE} if "other_cas" in answer else {}
        found = [{**entry, "other_ca": HOSTILE} for entry in answer.get("identities", []) if "other_ca" in entry]
        return {**answer, **claims, **({"identities": found} if found else {})}
    if kind in PUBLIC_KEYS:
        keys = [PUBLIC_KEYS[kind](entry) for entry in answer.get("public_keys", [])]
        return {**answer, **({"public_keys": [entry for entries in keys for entry in entries]} if keys else {})}
    if kind.startswith("signing"):
        return sign_this(kind, folder) if module.endswith("docker_certificate_request") else answer
    if kind in REFUSALS:
        refuses = module.endswith(REFUSALS[kind]) and (kind == "closed" or not check_mode)
        return {"changed": False, "failed": True, "msg": "There is no space left."} if refuses else answer
    if kind == "skipping":
        return {"changed": False, "skipped": True, "unreachable": False}
    if kind == "broken":
        return {**broken(answer), "results": 5, "msg": {"a": HOSTILE}, "ansible_facts": "none", "ansible_stats": [1]}
    return answer


def kind_of(folder: pathlib.Path, state: Answer) -> str:
    """The last way of answering whose phase has come."""
    phases, kind = list(PHASES.values()), "honest"
    for word in (folder / "kind").read_text(encoding="ascii").split():
        name, _, phase = word.partition("@")
        kind = name if phases.index(phase or "none") <= phases.index(state.get("phase", "none")) else kind
    return kind


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    user = os.environ.get("FAKE_USER")
    folder = folder.with_name(f"{user}@{folder.name}") if user else folder
    program = pathlib.Path(sys.argv[2]).read_text(encoding="utf-8") if len(sys.argv) > 2 else sys.stdin.read()
    module, options = asked(program)
    file = folder / "state.json"
    state = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    enter_phase(options.get("ca_certificate") or "", state)
    answer = honest(module, options, state, folder)
    file.write_text(json.dumps(state), encoding="utf-8")
    told = {name: value for name, value in options.items() if not re.match("_ansible_(?!check_mode)", name)}
    with (folder / "asked.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps([module, told]) + "\n")
    sys.stdout.write(json.dumps(lie(kind_of(folder, state), module, answer, folder, options["_ansible_check_mode"])))


if __name__ == "__main__":
    main()
