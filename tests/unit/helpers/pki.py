"""Certificate authorities for tests, made in a moment and thrown away."""

from __future__ import annotations

import datetime
import ipaddress
import pathlib
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


class Authority:
    """A CA as the collection makes them; without ``strict`` it lacks the key usage that strict clients require.

    ``above`` signs an issuing CA, which does not end a second later because it was made a second later.
    """

    def __init__(
        self, name: str, strict: bool = True, days: int = 9, above: Authority | None = None, path_length: int | None = 0
    ) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name(name)
        self.made = above.made if above else datetime.datetime.now(datetime.timezone.utc)
        extensions: list[tuple[x509.ExtensionType, bool]] = [(x509.BasicConstraints(True, path_length), True)]
        if strict:
            names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment")
            names += ("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
            usage = {name: name in ("key_cert_sign", "crl_sign") for name in names}
            extensions.append((x509.KeyUsage(**usage), True))
        self.certificate = (above or self)._sign(self.name, self.key.public_key(), extensions, days)
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def _sign(self, subject: x509.Name, public: t.Any, extensions: t.Any, days: int = 9) -> x509.Certificate:
        end = self.made + datetime.timedelta(days=days, hours=1)
        begin = min(end - datetime.timedelta(days=30), self.made - datetime.timedelta(days=1))
        builder = x509.CertificateBuilder(self.name, subject, public, x509.random_serial_number())
        builder = builder.not_valid_before(begin).not_valid_after(end)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256())

    def unreadable(self) -> bytes:
        """A certificate in DER whose names only fail when somebody reads them."""
        names = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"no names")
        certificate = self._sign(self.name, self.key.public_key(), [(names, False)])
        return certificate.public_bytes(serialization.Encoding.DER)

    def file(self, folder: pathlib.Path, *others: Authority) -> str:
        """A bundle of this CA and the others."""
        path = folder / f"ca-{id(self)}-{len(others)}.pem"
        path.write_text("".join(authority.pem for authority in (self, *others)), encoding="ascii")
        return str(path)

    def pair(
        self,
        folder: pathlib.Path,
        name: str,
        *usages: x509.ObjectIdentifier,
        names: t.Iterable[str] = ("web1",),
        days: int = 9,
    ) -> tuple[str, str]:
        """The files of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        extensions = [
            (x509.ExtendedKeyUsage(usages), False),
            (x509.SubjectAlternativeName([_general_name(text) for text in names]), False),
        ]
        certificate = self._sign(_name(name), key.public_key(), extensions, days)
        files = (folder / f"{name}.pem", folder / f"{name}-key.pem")
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return str(files[0]), str(files[1])
