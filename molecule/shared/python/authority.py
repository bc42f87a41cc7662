"""A throw-away certificate authority: `authority.py FOLDER HOST...` writes its certificate and a pair for each host."""

import datetime
import ipaddress
import pathlib
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime.now(datetime.timezone.utc)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form).decode()


class Authority:
    def __init__(self, name: str) -> None:
        self.key = new_key()
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = self._builder(self.name, self.key, days=9)
        builder = builder.add_extension(x509.BasicConstraints(True, 0), True).add_extension(usage, True)
        self.pem = builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
        start, end = NOW - datetime.timedelta(days=20), NOW + datetime.timedelta(days=days)
        public = key.public_key()
        builder = x509.CertificateBuilder(self.name, subject, public, x509.random_serial_number(), start, end)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return builder.add_extension(issuer, False)

    def certificate(
        self, names: list[str], key: ec.EllipticCurvePrivateKey, usage: str = "SERVER_AUTH", days: int = 9
    ) -> str:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        builder = self._builder(subject, key, days)
        builder = builder.add_extension(x509.ExtendedKeyUsage([getattr(ExtendedKeyUsageOID, usage)]), False)
        builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def main(folder: pathlib.Path, *hosts: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    authority = Authority("lab of engines")
    (folder / "ca-key.pem").write_text(key_pem(authority.key), encoding="ascii")
    (folder / "ca.pem").write_text(authority.pem, encoding="ascii")
    for name, usage in (*((host, "SERVER_AUTH") for host in hosts), ("client", "CLIENT_AUTH")):
        key = new_key()
        (folder / f"{name}-key.pem").write_text(key_pem(key), encoding="ascii")
        (folder / f"{name}.pem").write_text(authority.certificate([name], key, usage), encoding="ascii")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), *sys.argv[2:])
