"""Who gets in to an engine over TLS."""

from __future__ import annotations

import pathlib
import re
import ssl
import typing as t
import urllib.error
import urllib.request


def accepted(lab: t.Any, engine: str, pair: pathlib.Path, gateway: bool = False) -> bool:
    """Whether an engine lets a certificate and its key in, whatever certificate the engine has itself.

    A gateway closes the connection of whoever has a certificate of a CA that it trusts, and is nobody whom it knows.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # In TLS 1.3 a client has shaken hands before it is refused, and may see no more than a connection that was reset.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(pair / "cert.pem", pair / "key.pem")
    try:
        with urllib.request.urlopen(f"https://{lab.address(engine)}:2376/_ping", context=context, timeout=10) as answer:
            return bool(answer.read() == b"OK")
    except (urllib.error.URLError, OSError) as error:
        refusals = "certificate|alert"
        if gateway:
            refusals += "|closed connection without response|reset by peer|broken pipe|EOF occurred"
        assert re.search(refusals, str(error), re.IGNORECASE), error
        return False
