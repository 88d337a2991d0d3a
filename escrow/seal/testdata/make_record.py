"""Makes record.json from the package comment of escrow/seal alone.

It shares no line and no library with the Go code. The second half, its shares
and K2 are the first of threshold/testdata/tdh2.json.
Usage: make_record.py ../threshold/testdata/tdh2.json > record.json
(needs the package cryptography, for AES-GCM)
"""
import base64
import hashlib
import hmac
import json
import sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def frame(*parts):
    parts = [p if isinstance(p, bytes) else p.encode() for p in parts]
    return b"".join(len(p).to_bytes(2, "big") + p for p in parts)


def hkdf(secret, info, n):  # RFC 5869, without salt
    prk, out, last = hmac.digest(bytes(32), secret, "sha256"), b"", b""
    for i in range(1, n // 32 + 1):
        last = hmac.digest(prk, last + info + bytes([i]), "sha256")
        out += last
    return out


def pad(value):
    p = len(value).to_bytes(2, "big") + value
    return p + bytes(-len(p) % 64)


tdh2 = json.load(open(sys.argv[1]))
key, ct = tdh2["keys"][0], tdh2["keys"][0]["ciphertexts"][0]
label, k1, k2 = ct["label"], bytes(range(32)), bytes.fromhex(ct["message"])
values = {"name": b"Tom Troll", "birthdate": b"1980-02-29", "address": bytes(62), "email": bytes(63)}
plain = {name: pad(v) for name, v in values.items()}
# What no honest program seals.
plain["padding_not_zero"] = pad(b"x")[:-1] + b"\1"
plain["padding_too_long"] = pad(b"x") + bytes(64)
plain["padding_missing"] = b"\0\1x"
plain["length_too_great"] = b"\0\x3f" + bytes(62)
plain["one_byte"] = b"\0"
plain["nothing"] = b""
halves, fields = {}, {}
for i, (name, p) in enumerate(plain.items()):
    halves[name] = hkdf(k1, frame("penname/first-half/v1", label, name), 32)
    info = frame("penname/seal/v1", label, name)
    k, c = (out := hkdf(halves[name] + k2, info, 64))[:32], out[32:]
    nonce = bytes([i] * 12)
    fields[name] = c + nonce + AESGCM(k).encrypt(nonce, p, info)
second = bytes.fromhex(ct["ciphertext"])
parts = ["penname/record/v1", label, hashlib.sha256(second).digest()]
for name in sorted(fields):
    parts += [name, hashlib.sha256(fields[name]).digest()]
b64 = lambda m: {name: base64.b64encode(v).decode() for name, v in m.items()}
out = {
    "k1": base64.b64encode(k1).decode(),
    "public_key": base64.b64encode(bytes.fromhex(key["public_key"])).decode(),
    "shares": [base64.b64encode(bytes.fromhex(s)).decode() for s in ct["shares"]],
    "record": {"label": label, "first_half": "", "second_half": base64.b64encode(second).decode(), "fields": b64(fields)},
    "digest": hashlib.sha256(frame(*parts)).hexdigest(),
    "first_halves": b64(halves),
    "opens": b64(values),
}
print(json.dumps(out, indent=2))
