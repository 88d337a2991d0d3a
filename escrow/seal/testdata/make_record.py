"""Makes record.json and record2.json from the package comment of escrow/seal alone.

It shares no line and no library with the Go code. In version 1 the second half,
its shares and K2 are the first of threshold/testdata/tdh2.json; in version 2 the
second halves are made here, to the same key.
Usage: make_record.py ../threshold/testdata/tdh2.json 1 > record.json
       make_record.py ../threshold/testdata/tdh2.json 2 > record2.json
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


sys.path.insert(0, sys.argv[1].rsplit("/", 1)[0])
import check_tdh2 as t  # noqa: E402


def encrypt(key, label, message, n):
    """TDH2, with the scalars n and n + 1 where a random one stands."""
    secret, h, r, s = t.scalar(bytes.fromhex(key["polynomial"][0])), bytes.fromhex(key["public_key"])[8:40], n, n + 1
    masked = bytes(a ^ b for a, b in zip(t.digest(b"H1", t.encode(t.mul(t.G, r * secret))), message))
    u, ubar = t.encode(t.mul(t.G, r)), t.encode(t.mul(t.G_BAR, r))
    e = t.challenge(b"H2", h, masked, label, u, t.encode(t.mul(t.G, s)), ubar, t.encode(t.mul(t.G_BAR, s)))
    f = (s + r * e) % t.Q
    return b"C\1" + len(label).to_bytes(2, "big") + label + masked + u + ubar + e.to_bytes(32, "little") + f.to_bytes(32, "little")


version = int(sys.argv[2])
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
compartments = {name: "contact" if name in ("address", "email") else "identity" for name in plain}
k2c = {"contact": bytes([1] * 32), "identity": bytes([2] * 32)}
halves, fields = {}, {}
for i, (name, p) in enumerate(plain.items()):
    halves[name] = hkdf(k1, frame("penname/first-half/v1", label, name), 32)
    second = k2
    if version == 2:
        c = compartments[name]
        second = hkdf(k2c[c], frame("penname/second-half/v2", label, c, name), 32)
    info = frame("penname/seal/v%d" % version, label, name)
    k, c = (out := hkdf(halves[name] + second, info, 64))[:32], out[32:]
    nonce = bytes([i] * 12)
    fields[name] = c + nonce + AESGCM(k).encrypt(nonce, p, info)
sha256 = lambda b: hashlib.sha256(b).digest()
text = lambda b: base64.b64encode(b).decode()
b64 = lambda m: {name: text(v) for name, v in m.items()}
record = {"label": label, "first_half": ""}
out = {"k1": text(k1), "public_key": text(bytes.fromhex(key["public_key"]))}
if version == 1:
    second = bytes.fromhex(ct["ciphertext"])
    record["second_half"] = text(second)
    out["shares"] = [text(bytes.fromhex(s)) for s in ct["shares"]]
    parts = ["penname/record/v1", label, sha256(second)]
    for name in sorted(fields):
        parts += [name, sha256(fields[name])]
else:
    seconds = {c: encrypt(key, (label + "." + c).encode(), k2c[c], 7 + len(c)) for c in k2c}
    record |= {"version": 2, "second_halves": b64(seconds), "compartments": compartments}
    out["key_shares"] = [text(bytes.fromhex(s)) for s in key["key_shares"]]
    parts = ["penname/record/v2", label, b"",
             frame(*[p for c in sorted(seconds) for p in (c, sha256(seconds[c]))]),
             frame(*[p for n in sorted(fields) for p in (n, compartments[n], sha256(fields[n]))])]
    packed = b"\2\0"
    for c in sorted(seconds):
        names = sorted(n for n in compartments if compartments[n] == c)
        packed += bytes([len(c)]) + c.encode() + seconds[c][-160:] + bytes([len(names)])
        packed += b"".join(bytes([len(n)]) + n.encode() for n in names)
    out["packed"] = text(packed)
out |= {
    "record": record | {"fields": b64(fields)},
    "digest": hashlib.sha256(frame(*parts)).hexdigest(),
    "first_halves": b64(halves),
    "opens": b64(values),
}
print(json.dumps(out, indent=2))
