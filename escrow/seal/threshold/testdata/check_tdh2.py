"""Checks tdh2.json from RFC 9496, RFC 9380, RFC 9497 and the TDH2 paper alone.

It shares no line and no library with the Go code: plain integers, slow and not
constant-time, good for checking and for nothing else.
Usage: check_tdh2.py tdh2.json
"""
import hashlib
import json
import sys

P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
DOMAIN = b"penname/tdh2/v1/"


def negative(x):  # RFC 9496, 2.1
    return x % P & 1


def absolute(x):
    return -x % P if negative(x) else x % P


def sqrt_ratio(u, v):  # RFC 9496, 4.2
    r = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    check = v * r * r % P
    correct, flipped, flipped_i = check == u % P, check == -u % P, check == -u * SQRT_M1 % P
    if flipped or flipped_i:
        r = r * SQRT_M1 % P
    return correct or flipped, absolute(r)


INVSQRT_A_MINUS_D = sqrt_ratio(1, (-1 - D) % P)[1]
SQRT_AD_MINUS_ONE = sqrt_ratio((-D - 1) % P, 1)[1]
# RFC 9496 fixes the sign of this constant: it is the odd root.
if SQRT_AD_MINUS_ONE != 25063068953384623474111414158702152701244531502492656460079210482610430750235:
    SQRT_AD_MINUS_ONE = P - SQRT_AD_MINUS_ONE
assert SQRT_AD_MINUS_ONE == 25063068953384623474111414158702152701244531502492656460079210482610430750235


def decode(b):  # RFC 9496, 4.3.1
    s = int.from_bytes(b, "little")
    assert len(b) == 32 and s < P and not negative(s), "not canonical"
    ss = s * s % P
    u1, u2 = (1 - ss) % P, (1 + ss) % P
    v = (-(D * u1 * u1) - u2 * u2) % P
    square, inv = sqrt_ratio(1, v * u2 * u2)
    dx = inv * u2 % P
    dy = inv * dx * v % P
    x = absolute(2 * s * dx)
    y = u1 * dy % P
    t = x * y % P
    assert square and not negative(t) and y != 0, "not an element"
    return (x, y, 1, t)


def encode(p):  # RFC 9496, 4.3.2
    x0, y0, z0, t0 = p
    u1, u2 = (z0 + y0) * (z0 - y0) % P, x0 * y0 % P
    inv = sqrt_ratio(1, u1 * u2 * u2)[1]
    d1, d2 = inv * u1 % P, inv * u2 % P
    zinv = d1 * d2 * t0 % P
    if negative(t0 * zinv):
        x, y, den = y0 * SQRT_M1 % P, x0 * SQRT_M1 % P, d1 * INVSQRT_A_MINUS_D % P
    else:
        x, y, den = x0, y0, d2
    if negative(x * zinv):
        y = -y % P
    return absolute(den * (z0 - y)).to_bytes(32, "little")


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]), (p[1] + p[0]) * (q[1] + q[0])
    c, d = 2 * p[3] * q[3] * D, 2 * p[2] * q[2]
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def mul(p, k):
    r = (0, 1, 1, 0)
    for bit in bin(k % Q)[2:]:
        r = add(r, r)
        if bit == "1":
            r = add(r, p)
    return r


def sub(p, q):
    return add(p, (-q[0] % P, q[1], q[2], -q[3] % P))


def expand(msg, dst, n):  # RFC 9380, 5.3.1 with SHA-512
    dst += bytes([len(dst)])
    b0 = hashlib.sha512(bytes(128) + msg + n.to_bytes(2, "big") + b"\0" + dst).digest()
    out = last = hashlib.sha512(b0 + b"\1" + dst).digest()
    assert n <= len(out)
    return out[:n]


def elligator(b):  # RFC 9496, 4.3.4
    t = int.from_bytes(b, "little") % 2**255 % P
    r = SQRT_M1 * t * t % P
    u = (r + 1) * (1 - D * D) % P
    v = (-1 - r * D) * (r + D) % P
    square, s = sqrt_ratio(u, v)
    s = s if square else -absolute(s * t) % P
    c = -1 if square else r
    n = (c * (r - 1) * (D - 1) ** 2 - v) % P
    w0, w1, w2, w3 = 2 * s * v % P, n * SQRT_AD_MINUS_ONE % P, (1 - s * s) % P, (1 + s * s) % P
    return (w0 * w3 % P, w2 * w1 % P, w1 * w3 % P, w0 * w2 % P)


def frame(parts):
    return b"".join(len(p).to_bytes(4, "big") + p for p in parts)


def challenge(name, *parts):
    return int.from_bytes(expand(frame(parts), DOMAIN + name, 64), "little") % Q


def digest(name, *parts):
    return hashlib.sha256(DOMAIN + name + frame(parts)).digest()


def scalar(b):
    k = int.from_bytes(b, "little")
    assert len(b) == 32 and k < Q
    return k


def lagrange(xs, j):
    num = den = 1
    for x in xs:
        if x != j:
            num, den = num * -x % Q, den * (j - x) % Q
    return num * pow(den, Q - 2, Q) % Q


G = decode(bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"))  # RFC 9496, A.1
U = expand(b"", DOMAIN + b"second-generator", 64)
G_BAR = add(elligator(U[:32]), elligator(U[32:]))


def check_key(v):
    f = [scalar(bytes.fromhex(a)) for a in v["polynomial"]]
    pk = bytes.fromhex(v["public_key"])
    t, n = pk[2], pk[3]
    assert pk[:2] == b"P\1" and t == len(f) and pk[4:8] == b"\0\0\0\1" and len(pk) == 40 + 32 * n
    x = [sum(a * i**k for k, a in enumerate(f)) % Q for i in range(n + 1)]
    assert pk[8:] == b"".join(encode(mul(G, xi)) for xi in x)
    set_id = digest(b"set", pk)[:16]
    h = pk[8:40]
    for i, ks in enumerate(v["key_shares"], 1):
        assert bytes.fromhex(ks) == b"K" + pk[1:8] + set_id + bytes([i]) + x[i].to_bytes(32, "little")
    for c in v["ciphertexts"]:
        check_ciphertext(c, x, pk, set_id, h)


def check_ciphertext(c, x, pk, set_id, h):
    m, label, ct = bytes.fromhex(c["message"]), c["label"].encode(), bytes.fromhex(c["ciphertext"])
    r, s = scalar(bytes.fromhex(c["r"])), scalar(bytes.fromhex(c["s"]))
    pad = digest(b"H1", encode(mul(G, r * x[0])))
    assert pad.hex() == c["h1"]
    masked = bytes(a ^ b for a, b in zip(pad, m))
    u, ubar = mul(G, r), mul(G_BAR, r)
    e = challenge(b"H2", h, masked, label, encode(u), encode(mul(G, s)), encode(ubar), encode(mul(G_BAR, s)))
    f = (s + r * e) % Q
    want = b"C\1" + len(label).to_bytes(2, "big") + label + masked + encode(u) + encode(ubar)
    assert ct == want + e.to_bytes(32, "little") + f.to_bytes(32, "little")
    d = digest(b"ciphertext", ct)
    assert d.hex() == c["digest"]
    ui = {}
    for i, (nonce, share) in enumerate(zip(c["s_i"], c["shares"]), 1):
        si, b = scalar(bytes.fromhex(nonce)), bytes.fromhex(share)
        ui[i] = mul(u, x[i])
        hi = pk[8 + 32 * i : 40 + 32 * i]
        ei = challenge(b"H4", set_id, h, bytes([i]), hi, d, label, encode(u), encode(ui[i]), encode(mul(u, si)), encode(mul(G, si)))
        fi = (si + x[i] * ei) % Q
        want = b"S" + pk[1:8] + set_id + bytes([i]) + d[:16] + encode(ui[i])
        assert b == want + ei.to_bytes(32, "little") + fi.to_bytes(32, "little")
    for xs in c["opens"]:
        shared = (0, 1, 1, 0)
        for j in xs:
            shared = add(shared, mul(ui[j], lagrange(xs, j)))
        pad = digest(b"H1", encode(shared))
        assert bytes(a ^ b for a, b in zip(pad, masked)) == m


def check_ceremony(v):
    """The key that came out is the sum of what the dealers committed to."""
    b, parts = bytes.fromhex(v["transcript"])[2:], []
    while b:
        n = int.from_bytes(b[:4], "big")
        parts.append(b[4 : 4 + n])
        b = b[4 + n :]
    pk = bytes.fromhex(v["public_key"])
    t, n = pk[2], pk[3]
    deals = {m[35]: m[68:] for m in parts[1:] if m[2] == 2}
    xs = sorted(deals)
    weight = {j: 1 if v["kind"] == "generation" else lagrange(xs, j) for j in xs}
    a = [(0, 1, 1, 0)] * t
    for j in xs:
        for k in range(t):
            a[k] = add(a[k], mul(decode(deals[j][32 * k : 32 * k + 32]), weight[j]))
    assert encode(a[0]) == pk[8:40]
    for i in range(1, n + 1):
        hi = (0, 1, 1, 0)
        for k in range(t):
            hi = add(hi, mul(a[k], i**k))
        assert encode(hi) == pk[8 + 32 * i : 40 + 32 * i]
        x = scalar(bytes.fromhex(v["key_shares"][i - 1])[25:])
        assert encode(mul(G, x)) == encode(hi)


def main():
    v = json.load(open(sys.argv[1]))
    assert encode(G_BAR).hex() == v["second_generator"]
    parts = [bytes.fromhex(p) for p in v["challenge"]["parts"]]
    assert challenge(b"example", *parts).to_bytes(32, "little").hex() == v["challenge"]["out"]
    assert digest(b"example", *parts).hex() == v["digest"]["out"]
    for key in v["keys"]:
        check_key(key)
    for ceremony in v["ceremonies"]:
        check_ceremony(ceremony)
    # h survives the resharing
    assert v["ceremonies"][0]["public_key"][16:80] == v["ceremonies"][1]["public_key"][16:80]
    print("ok")


if __name__ == "__main__":
    main()
