"""Certificate requests that no library writes: two extension attributes, foreign names, odd encodings, bad signatures.

They are encoded by hand, so that the same ones can be made with every release of cryptography.
"""

from __future__ import annotations

import base64
import random
import typing as t

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa

EXTENSION_REQUEST = "1.2.840.113549.1.9.14"
MICROSOFT_EXTENSIONS = "1.3.6.1.4.1.311.2.1.14"
SERVER_AUTH, CLIENT_AUTH, ANY_USAGE = "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2", "2.5.29.37.0"


def tlv(tag: int, *parts: bytes, long_form: bool = False) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 128 and not long_form:
        return bytes([tag, size]) + content
    length = size.to_bytes(max(1, (size.bit_length() + 7) // 8) + long_form, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def sequence(*parts: bytes) -> bytes:
    return tlv(0x30, *parts)


def oid(dotted: str) -> bytes:
    first, second, *others = map(int, dotted.split("."))
    encoded = b""
    for number in (first * 40 + second, *others):
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(0x80 | number & 0x7F)
        encoded += bytes(reversed(digits))
    return tlv(0x06, encoded)


def extension(dotted: str, value: bytes, critical: bool = False) -> bytes:
    return sequence(oid(dotted), *([tlv(0x01, b"\xff")] if critical else []), tlv(0x04, value))


def attribute(dotted: str, *values: bytes) -> bytes:
    return sequence(oid(dotted), tlv(0x31, *values))


def usages(*dotted: str) -> bytes:
    return extension("2.5.29.37", sequence(*map(oid, dotted)))


def names(*general_names: bytes) -> bytes:
    return extension("2.5.29.17", sequence(*general_names))


def dns(text: str) -> bytes:
    return tlv(0x82, text.encode())


def subject(*attributes: tuple[str, int, bytes]) -> bytes:
    return sequence(*(tlv(0x31, sequence(oid(kind), tlv(tag, text))) for kind, tag, text in attributes))


class Maker:
    """Makes requests from a seed, so that a failure can be looked at again."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.keys: list[t.Any] = [
            ec.generate_private_key(ec.SECP256R1()),
            ec.generate_private_key(ec.SECP384R1()),
            rsa.generate_private_key(65537, 2048),
        ]
        self.odd_keys: list[t.Any] = [
            rsa.generate_private_key(65537, 1024),  # noqa: S505 it is to be refused
            ec.generate_private_key(ec.SECP521R1()),
            ec.generate_private_key(ec.SECP256K1()),
            ed25519.Ed25519PrivateKey.generate(),
            dsa.generate_private_key(1024),  # noqa: S505 it is to be refused
        ]

    def request(self) -> tuple[str, t.Any]:
        """A request and the key that it claims."""
        key = self.random.choice(self.keys * 8 + self.odd_keys)
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        version = self.random.choice([b"\0"] * 40 + [b"\1", b"\2", b"\xff"])
        attributes = [self._attribute() for _ in range(self.random.choice([0, 1, 1, 2, 2, 3]))]
        if self.random.random() < 0.8:
            attributes.sort()  # as DER demands; some parsers insist on it
        info = tlv(
            0x30,
            tlv(0x02, version),
            self._subject(),
            public,
            tlv(0xA0, *attributes),
            long_form=self.random.random() < 0.05,
        )
        signature, algorithm = self._signature(key, info)
        return self._pem(sequence(info, algorithm, tlv(0x03, b"\0", signature))), key

    def _subject(self) -> bytes:
        common_name, unit, mail = "2.5.4.3", "2.5.4.11", "1.2.840.113549.1.9.1"
        return self.random.choice(
            [
                subject(),
                subject((common_name, 0x0C, b"neighbour")),
                subject((common_name, 0x13, b"neighbour"), (common_name, 0x0C, b"admin")),
                subject((unit, 0x1E, "админ".encode("utf-16-be")), (common_name, 0x14, b"neighb\xf6ur")),
                subject((common_name, 0x0C, b"web1\0neighbour"), (mail, 0x16, b"root@example.com")),
                subject((common_name, 0x0C, b"\xff\xfe")),
                subject((common_name, 0x0C, b"n" * 300)),
            ]
        )

    def _attribute(self) -> bytes:
        kind = self.random.choice([EXTENSION_REQUEST] * 3 + [MICROSOFT_EXTENSIONS] * 2 + ["1.2.840.113549.1.9.7"])
        if kind.endswith(".9.7"):
            return attribute(kind, tlv(0x13, b"challenge"))
        asked = [self._extension() for _ in range(self.random.randint(1, 4))]
        values = [sequence(*asked)]
        if self.random.random() < 0.1:
            values = sorted([*values, sequence(self._extension())])
        return attribute(kind, *values)

    def _extension(self) -> bytes:
        return self.random.choice(
            [
                usages(SERVER_AUTH),
                usages(CLIENT_AUTH),
                usages(SERVER_AUTH, CLIENT_AUTH),
                usages(ANY_USAGE),
                usages("1.3.6.1.5.5.7.3.3", "1.2.3.4"),
                names(dns("neighbour")),
                names(dns("*"), dns("*.example.com"), tlv(0x87, bytes([192, 0, 2, 12]))),
                names(tlv(0x81, b"root@example.com"), tlv(0x86, b"https://neighbour")),
                names(dns("neighb\u00f6ur")),
                names(),
                extension("2.5.29.19", sequence(tlv(0x01, b"\xff")), critical=True),
                extension("2.5.29.19", sequence(tlv(0x01, b"\x01"), tlv(0x02, b"\0"))),
                extension("2.5.29.15", tlv(0x03, b"\x01\x06"), critical=True),
                extension("2.5.29.15", tlv(0x03, b"\0\xff\x80")),
                extension("2.5.29.14", tlv(0x04, b"the key of somebody else")),
                extension("2.5.29.35", sequence(tlv(0x80, b"another issuer"))),
                extension("2.5.29.30", b"\x30\x03\x02\x01\x05", critical=True),
                extension("1.2.3.4.5", b"unknown", critical=True),
                extension("2.5.29.17", b"no DER at all"),
            ]
        )

    def _signature(self, key: t.Any, info: bytes) -> tuple[bytes, bytes]:
        signer, signed = key, info
        chance = self.random.random()
        if chance < 0.05:
            signer = self.random.choice([other for other in self.keys if other is not key])
        elif chance < 0.1:
            signed = info + b"\0"
        if isinstance(signer, rsa.RSAPrivateKey):
            signature = signer.sign(signed, padding.PKCS1v15(), hashes.SHA256())
            algorithm = sequence(oid("1.2.840.113549.1.1.11"), tlv(0x05))
        elif isinstance(signer, ec.EllipticCurvePrivateKey):
            signature, algorithm = signer.sign(signed, ec.ECDSA(hashes.SHA256())), sequence(oid("1.2.840.10045.4.3.2"))
        elif isinstance(signer, dsa.DSAPrivateKey):
            signature, algorithm = signer.sign(signed, hashes.SHA256()), sequence(oid("2.16.840.1.101.3.4.3.2"))
        else:
            signature, algorithm = signer.sign(signed), sequence(oid("1.3.101.112"))
        if 0.1 <= chance < 0.13:
            signature = bytes(len(signature))
        elif 0.13 <= chance < 0.15:
            algorithm = sequence(oid("1.2.3.4"))
        return signature, algorithm

    def _pem(self, der: bytes) -> str:
        label = self.random.choice(["CERTIFICATE REQUEST", "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"])
        content = base64.encodebytes(der).decode()
        text = f"-----BEGIN {label}-----\n{content}-----END {label}-----\n"
        chance = self.random.random()
        if chance < 0.1:
            return text.replace("\n", "\r\n")
        if chance < 0.2:
            return f"Certificate Request:\n    Data:\n{text.rstrip()}"
        if chance < 0.23:
            return text + text
        if chance < 0.26:
            return text.replace("A", "!", 1)
        return text
