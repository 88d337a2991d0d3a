package passkey_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
	"github.com/penname/penname/escrow/passkey"
	"github.com/penname/penname/escrow/passkey/passkeytest"
	"github.com/penname/penname/verifier/refusal"
)

const origin = "https://penname.example"

var start = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// rig is a party whose clock tests turn, and a device that a person has.
type rig struct {
	now   time.Time
	party *passkey.Party
	user  []byte
	*passkeytest.Device
}

func newRig(t testing.TB, alg int) *rig {
	t.Helper()
	r := &rig{now: start, user: bytes.Repeat([]byte{7}, 32), Device: passkeytest.New(origin, alg)}
	if r.party = passkey.New(origin, func() time.Time { return r.now }); r.party == nil {
		t.Fatal("no passkeys at " + origin)
	}
	return r
}

// create adds the device's passkey.
func (r *rig) create(t testing.TB) (passkey.Credential, error) {
	t.Helper()
	c, options, err := r.party.BeginCreate(r.user, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := passkey.Read(r.Create(options))
	if err != nil {
		return passkey.Credential{}, err
	}
	return r.party.Created(c, a)
}

// get shows it.
func (r *rig) get(t testing.TB, of passkey.Credential) (uint32, error) {
	t.Helper()
	c, options, err := r.party.BeginGet()
	if err != nil {
		t.Fatal(err)
	}
	a, err := passkey.Read(r.Get(options))
	if err != nil {
		return 0, err
	}
	return r.party.Asserted(c, a, of, r.user)
}

func (r *rig) made(t testing.TB) passkey.Credential {
	t.Helper()
	c, err := r.create(t)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func isRefused(t *testing.T, err error, want *refusal.Error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%v, want %v", err, want.Code)
	}
	if e := refusal.Of(err); e != nil && (e.Kind != refusal.Unauthenticated || !strings.HasPrefix(e.Code, "webauthn.")) {
		t.Errorf("%s is of kind %s", e.Code, e.Kind)
	}
}

func TestPasskeysOfEachAlgorithm(t *testing.T) {
	for _, alg := range []int{-7, -8, -257} {
		r := newRig(t, alg)
		c := r.made(t)
		if !bytes.Equal(c.ID, r.ID) || !bytes.Equal(c.Key, r.COSE) || !c.Backup || c.Counter != 0 {
			t.Errorf("alg %d: %+v", alg, c)
		}
		if n, err := r.get(t, c); err != nil || n != 0 {
			t.Errorf("alg %d: %d, %v", alg, n, err)
		}
	}
}

// What the browser is asked for, to the letter.
func TestOptions(t *testing.T) {
	r := newRig(t, -7)
	_, create, _ := r.party.BeginCreate(r.user, [][]byte{{1, 2}})
	_, get, _ := r.party.BeginGet()
	for _, want := range []string{`"userVerification":"required"`, `"residentKey":"required"`, `"attestation":"none"`, `"excludeCredentials":[{"type":"public-key","id":"AQI"}]`,
		`"pubKeyCredParams":[{"type":"public-key","alg":-7},{"type":"public-key","alg":-8},{"type":"public-key","alg":-257}]`, `"id":"penname.example"`, `"timeout":300000`} {
		if !bytes.Contains(create, []byte(want)) {
			t.Errorf("%s is not in %s", want, create)
		}
	}
	for _, want := range []string{`"userVerification":"required"`, `"rpId":"penname.example"`, `"allowCredentials":[]`} {
		if !bytes.Contains(get, []byte(want)) {
			t.Errorf("%s is not in %s", want, get)
		}
	}
	a, _, _ := r.party.BeginGet()
	b, _, _ := r.party.BeginGet()
	if raw, err := base64.RawURLEncoding.DecodeString(a.Challenge); err != nil || len(raw) != 32 || a.Challenge == b.Challenge {
		t.Error("challenges are not 32 random bytes")
	}
}

// Where the host is an address, or the line is not protected, browsers have no passkeys.
func TestWhereThereAreNone(t *testing.T) {
	for origin, want := range map[string]bool{
		"https://penname.example": true, "https://penname.example:8443": true, "http://localhost:8080": true, "http://localhost": true,
		"http://penname.example": false, "https://127.0.0.1": false, "http://127.0.0.1:8080": false, "https://[::1]:8443": false,
		"http://localhost.evil": false, "https://penname.example/": false, "ftp://localhost": false, "": false, "android:apk-key-hash:x": false,
	} {
		if got := passkey.New(origin, time.Now) != nil; got != want {
			t.Errorf("%q: %v", origin, got)
		}
	}
}

// hook changes what a device sends.
type hook func(r *rig)

func client(name string, value any) hook {
	return func(r *rig) { r.Client = func(m map[string]any) { m[name] = value } }
}

func data(change func([]byte) []byte) hook { return func(r *rig) { r.Data = change } }

func flags(set, clear byte) hook {
	return data(func(b []byte) []byte { b[32] = b[32]&^clear | set; return b })
}

func answer(name string, value any) hook {
	return func(r *rig) { r.Answer = func(m map[string]any) { m[name] = value } }
}

// object replaces what stands in an attestation object; the value may be made of it.
func object(change func(r *rig, o map[string]any)) hook {
	return func(r *rig) { r.Object = func(o map[string]any) { change(r, o) } }
}

func raw(t testing.TB, o map[string]any) (client, authData []byte) {
	t.Helper()
	client, _ = o["client"].([]byte)
	authData, _ = o["authData"].([]byte)
	return client, authData
}

// row is what is refused of an answer, at which ceremony. W02 (used), W09, W10 and W12 are a
// store's: the pages' tests show them.
type row struct {
	name            string
	atCreate, atGet bool
	do              hook
	want            *refusal.Error
}

// ofClients are about what the browser says.
func ofClients() []row {
	return []row{
		{"W01 type of the other ceremony", true, false, client("type", "webauthn.get"), passkey.ErrType},
		{"W01 create for get", false, true, client("type", "webauthn.create"), passkey.ErrType},
		{"W01 a payment", true, true, client("type", "payment.get"), passkey.ErrType},
		{"W02 another challenge", true, true, client("challenge", passkeytest.B64(make([]byte, 32))), passkey.ErrChallenge},
		{"W02 no challenge", true, true, client("challenge", ""), passkey.ErrChallenge},
		{"W03 scheme", true, true, client("origin", "http://penname.example"), passkey.ErrOrigin},
		{"W03 port", true, true, client("origin", "https://penname.example:8443"), passkey.ErrOrigin},
		{"W03 default port", true, true, client("origin", "https://penname.example:443"), passkey.ErrOrigin},
		{"W03 subdomain", true, true, client("origin", "https://evil.penname.example"), passkey.ErrOrigin},
		{"W03 parent", true, true, client("origin", "https://example"), passkey.ErrOrigin},
		{"W03 look-alike", true, true, client("origin", "https://penname.example.evil"), passkey.ErrOrigin},
		{"W03 case", true, true, client("origin", "https://Penname.Example"), passkey.ErrOrigin},
		{"W03 path", true, true, client("origin", "https://penname.example/x"), passkey.ErrOrigin},
		{"W03 user", true, true, client("origin", "https://x@penname.example"), passkey.ErrOrigin},
		{"W03 opaque", true, true, client("origin", "android:apk-key-hash:AAAA"), passkey.ErrOrigin},
		{"W03 null", true, true, client("origin", "null"), passkey.ErrOrigin},
		{"W04 cross-origin", true, true, client("crossOrigin", true), passkey.ErrCrossOrigin},
		{"W04 top origin", true, true, client("topOrigin", origin), passkey.ErrCrossOrigin},
		{"W10 another credential", false, true, func(r *rig) { r.ID = bytes.Repeat([]byte{1}, 32) }, passkey.ErrUnknown},
		{"W11 user handle of another", false, true, func(r *rig) { r.User = bytes.Repeat([]byte{8}, 32) }, passkey.ErrOwner},
		{"W11 no user handle", false, true, func(r *rig) { r.User = nil }, passkey.ErrOwner},
		{"W13 id and rawId differ", true, true, answer("rawId", "AAAA"), passkey.ErrID},
		{"W13 id is another than the new one", true, false, func(r *rig) {
			r.Answer = func(m map[string]any) { m["id"], m["rawId"] = "AAAA", "AAAA" }
		}, passkey.ErrID},
		{"W13 not base64url", true, true, func(r *rig) { r.Answer = func(m map[string]any) { m["id"], m["rawId"] = "A+/=", "A+/=" } }, passkey.ErrID},
		{"W13 unused bits", true, true, func(r *rig) { r.Answer = func(m map[string]any) { m["id"], m["rawId"] = "AB", "AB" } }, passkey.ErrID},
		{"W13 empty", true, true, func(r *rig) { r.Answer = func(m map[string]any) { m["id"], m["rawId"] = "", "" } }, passkey.ErrID},
		{"W14 another type", true, true, answer("type", "password"), passkey.ErrKind},
		{"W14 no type", true, true, answer("type", ""), passkey.ErrKind},
		{"W26 trailing", true, true, func(r *rig) { r.JSON = func(b []byte) []byte { return append(b, "{}"...) } }, passkey.ErrClientData},
		{"W26 a member twice", true, true, func(r *rig) {
			r.JSON = func(b []byte) []byte { return append([]byte(`{"origin":"https://evil.example",`), b[1:]...) }
		}, passkey.ErrClientData},
		{"W26 no JSON", true, true, func(r *rig) { r.JSON = func([]byte) []byte { return []byte("x") } }, passkey.ErrClientData},
		{"W26 members of another case", true, true, func(r *rig) {
			r.JSON = func(b []byte) []byte { return bytes.Replace(b, []byte(`"origin"`), []byte(`"Origin"`), 1) }
		}, passkey.ErrOrigin},
		{"it is not discoverable", true, false, answer("clientExtensionResults", map[string]any{"credProps": map[string]bool{"rk": false}}), passkey.ErrNotKept},
		{"a signature of another key", false, true, func(r *rig) { r.Key = passkeytest.New(origin, -7).Key }, passkey.ErrSignature},
	}
}

// certified is a certificate of a key for attestation, signed by itself, with all that WebAuthn, 8.2.1
// asks of one.
func certified(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: start.AddDate(-1, 0, 0), NotAfter: start.AddDate(9, 0, 0), BasicConstraintsValid: true,
		Subject: pkix.Name{Country: []string{"GB"}, Organization: []string{"Example Keys"}, OrganizationalUnit: []string{"Authenticator Attestation"}, CommonName: "one"},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// ofAuthenticators are about what the authenticator says.
func ofAuthenticators(t testing.TB) []row {
	key := func(m map[int]any) hook { return func(r *rig) { r.COSE = passkeytest.CBOR(m) } }
	point := make([]byte, 32)
	object5 := func(inner any) any { return []any{[]any{[]any{[]any{[]any{inner}}}}} }
	return []row{
		{"W05 hash of another party", true, true, data(func(b []byte) []byte { b[0] ^= 1; return b }), passkey.ErrParty},
		{"W06 nobody present", true, true, flags(0, passkeytest.Present), passkey.ErrPresence},
		{"W07 nobody verified", true, true, flags(0, passkeytest.Verified), passkey.ErrVerification},
		{"W08 backed up and not eligible", true, true, flags(passkeytest.BackedUp, passkeytest.Eligible), passkey.ErrBackup},
		{"W08 eligible no more", false, true, flags(0, passkeytest.Eligible|passkeytest.BackedUp), passkey.ErrBackup},
		{"W13 empty in the data", true, false, data(func(b []byte) []byte { return append(append(slices.Clone(b[:53]), 0, 0), b[55+32:]...) }), passkey.ErrID},
		{"W15 ES384", true, false, key(map[int]any{1: 2, 3: -35, -1: 2, -2: make([]byte, 48), -3: make([]byte, 48)}), passkey.ErrAlgorithm},
		{"W15 none", true, false, key(map[int]any{1: 2, -1: 1, -2: point, -3: point}), passkey.ErrAlgorithm},
		{"W15 PS256", true, false, key(map[int]any{1: 3, 3: -37, -1: bytes.Repeat([]byte{255}, 256), -2: []byte{1, 0, 1}}), passkey.ErrAlgorithm},
		{"W16 none with a statement", true, false, object(func(_ *rig, o map[string]any) { o["attStmt"] = map[string]any{"sig": []byte{1}} }), passkey.ErrAttestation},
		{"W17 a certificate of another key, which signs", true, false, object(func(r *rig, o map[string]any) {
			other := passkeytest.New(origin, -7)
			client, authData := raw(t, o)
			o["fmt"], o["attStmt"] = "packed", map[string]any{"alg": -7, "sig": other.Sign(authData, client), "x5c": []any{certified(t, other.Key)}}
		}), passkey.ErrAttestation},
		{"W17 a certificate of another key, and the key signs", true, false, object(func(r *rig, o map[string]any) {
			client, authData := raw(t, o)
			o["fmt"], o["attStmt"] = "packed", map[string]any{"alg": -7, "sig": r.Sign(authData, client), "x5c": []any{certified(t, passkeytest.New(origin, -7).Key)}}
		}), passkey.ErrAttestation},
		{"W17 a certificate of the same key", true, false, object(func(r *rig, o map[string]any) {
			client, authData := raw(t, o)
			o["fmt"], o["attStmt"] = "packed", map[string]any{"alg": -7, "sig": r.Sign(authData, client), "x5c": []any{certified(t, r.Key)}}
		}), passkey.ErrAttestation},
		{"W18 a format that nobody knows", true, false, object(func(_ *rig, o map[string]any) { o["fmt"] = "made-up" }), passkey.ErrAttestation},
		{"W18 fido-u2f", true, false, object(func(_ *rig, o map[string]any) { o["fmt"] = "fido-u2f" }), passkey.ErrAttestation},
		{"W18 compound", true, false, object(func(_ *rig, o map[string]any) { o["fmt"], o["attStmt"] = "compound", []any{} }), passkey.ErrAttestation},
		{"W19 packed says another algorithm", true, false, object(func(r *rig, o map[string]any) {
			client, authData := raw(t, o)
			o["fmt"], o["attStmt"] = "packed", map[string]any{"alg": -8, "sig": r.Sign(authData, client)}
		}), passkey.ErrAttestation},
		{"W19 packed with another signature", true, false, object(func(r *rig, o map[string]any) {
			_, authData := raw(t, o)
			o["fmt"], o["attStmt"] = "packed", map[string]any{"alg": -7, "sig": r.Sign(authData, nil)}
		}), passkey.ErrAttestation},
		{"W20 packed of a model that says what it is", true, false, func(r *rig) {
			r.Data = func(b []byte) []byte { b[37] = 1; return b }
			r.Object = func(o map[string]any) {
				client, authData := raw(t, o)
				o["fmt"], o["attStmt"] = "packed", map[string]any{"alg": -7, "sig": r.Sign(authData, client)}
			}
		}, passkey.ErrAttestation},
		{"W21 bytes left over", true, true, data(func(b []byte) []byte { return append(b, 0) }), passkey.ErrLeftover},
		{"W21 left over after extensions", true, false, data(func(b []byte) []byte {
			b[32] |= passkeytest.Extensions
			return append(b, 0xa0, 0)
		}), passkey.ErrLeftover},
		{"W22 a credential without its flag", true, false, flags(0, passkeytest.Attested), passkey.ErrFlags},
		{"W22 the flag without a credential", false, true, flags(passkeytest.Attested, 0), passkey.ErrFlags},
		{"W22 the flag and half a credential", true, false, data(func(b []byte) []byte { return b[:54] }), passkey.ErrFlags},
		{"W22 the flag and no key", true, false, data(func(b []byte) []byte { return b[:55+32] }), passkey.ErrFlags},
		{"W22 the flag without extensions", true, true, flags(passkeytest.Extensions, 0), passkey.ErrFlags},
		{"W22 extensions without their flag", true, true, data(func(b []byte) []byte { return append(b, 0xa0) }), passkey.ErrLeftover},
		{"W22 shorter than any", true, true, data(func(b []byte) []byte { return b[:36] }), passkey.ErrMalformed},
		{"W23 an id of 1024 bytes", true, false, func(r *rig) { r.ID = make([]byte, 1024) }, passkey.ErrIDTooLong},
		{"W23 a length of 65535", true, false, data(func(b []byte) []byte { binary.BigEndian.PutUint16(b[53:], 65535); return b }), passkey.ErrIDTooLong},
		{"W24 off its curve", true, false, key(map[int]any{1: 2, 3: -7, -1: 1, -2: bytes.Repeat([]byte{1}, 32), -3: bytes.Repeat([]byte{2}, 32)}), passkey.ErrKey},
		{"W24 the point at infinity", true, false, key(map[int]any{1: 2, 3: -7, -1: 1, -2: point, -3: point}), passkey.ErrKey},
		{"W24 a short coordinate", true, false, key(map[int]any{1: 2, 3: -7, -1: 1, -2: point[:31], -3: point}), passkey.ErrKey},
		{"W24 of another curve", true, false, key(map[int]any{1: 2, 3: -7, -1: 3, -2: point, -3: point}), passkey.ErrKey},
		{"W24 ES256 of an octet key", true, false, key(map[int]any{1: 1, 3: -7, -1: 6, -2: point}), passkey.ErrKey},
		{"W24 RSA of 1024 bits", true, false, key(map[int]any{1: 3, 3: -257, -1: bytes.Repeat([]byte{255}, 128), -2: []byte{1, 0, 1}}), passkey.ErrKey},
		{"W24 RSA with exponent 1", true, false, key(map[int]any{1: 3, 3: -257, -1: bytes.Repeat([]byte{255}, 256), -2: []byte{1}}), passkey.ErrKey},
		{"W24 RSA of 8192 bits", true, false, key(map[int]any{1: 3, 3: -257, -1: bytes.Repeat([]byte{255}, 1024), -2: []byte{1, 0, 1}}), passkey.ErrKey},
		{"W25 a member twice in the key", true, false, func(r *rig) { r.COSE = append([]byte{0xa6, 1, 2, 1, 2}, r.COSE[3:]...) }, passkey.ErrCBOR},
		{"W25 deep", true, false, object(func(_ *rig, o map[string]any) { o["attStmt"] = map[string]any{"x": object5(1)} }), passkey.ErrCBOR},
		{"W25 a member too many", true, false, object(func(_ *rig, o map[string]any) { o["x"] = 1 }), passkey.ErrCBOR},
		{"W25 trailing", true, false, func(r *rig) {
			r.Answer = func(m map[string]any) {
				response := m["response"].(map[string]any)
				b, _ := base64.RawURLEncoding.DecodeString(response["attestationObject"].(string))
				response["attestationObject"] = passkeytest.B64(append(b, 0))
			}
		}, passkey.ErrCBOR},
		{"W25 no CBOR", true, false, func(r *rig) {
			r.Answer = func(m map[string]any) { m["response"].(map[string]any)["attestationObject"] = "____" }
		}, passkey.ErrCBOR},
		{"W27 an output that nobody asked for", true, true, answer("clientExtensionResults", map[string]any{"appid": true}), passkey.ErrExtension},
		{"W27 an output of the authenticator", true, true, data(func(b []byte) []byte {
			b[32] |= passkeytest.Extensions
			return append(b, passkeytest.CBOR(map[string]any{"hmac-secret": true})...)
		}), passkey.ErrExtension},
		{"W27 a protection that there is not", true, false, data(func(b []byte) []byte {
			b[32] |= passkeytest.Extensions
			return append(b, passkeytest.CBOR(map[string]any{"credProtect": 4})...)
		}), passkey.ErrExtension},
		{"W28 a TPM says who it is", true, false, object(func(_ *rig, o map[string]any) { o["fmt"], o["attStmt"] = "tpm", map[string]any{"ver": "2.0"} }), passkey.ErrAttestation},
		{"W28 Android says where its key is", true, false, object(func(_ *rig, o map[string]any) { o["fmt"], o["attStmt"] = "android-key", map[string]any{"alg": -7} }), passkey.ErrAttestation},
	}
}

// The rows of ATTACKS: each is refused by its code, at the ceremonies that it is for, and what
// is as it should be passes before and afterwards.
func TestW01ToW28(t *testing.T) {
	for _, row := range append(ofClients(), ofAuthenticators(t)...) {
		t.Run(row.name, func(t *testing.T) {
			if row.atCreate {
				r := newRig(t, -7)
				row.do(r)
				_, err := r.create(t)
				isRefused(t, err, row.want)
			}
			if row.atGet {
				r := newRig(t, -7)
				c := r.made(t)
				if _, err := r.get(t, c); err != nil {
					t.Fatal(err)
				}
				row.do(r)
				_, err := r.get(t, c)
				isRefused(t, err, row.want)
			}
		})
	}
}

func TestW02ExpiredAndForAnotherCeremony(t *testing.T) {
	r := newRig(t, -7)
	c := r.made(t)
	begun, options, _ := r.party.BeginGet()
	a, err := passkey.Read(r.Get(options))
	if err != nil {
		t.Fatal(err)
	}
	judge := func(c2 passkey.Ceremony) error { _, err := r.party.Asserted(c2, a, c, r.user); return err }
	r.now = start.Add(passkey.Life)
	isRefused(t, judge(begun), passkey.ErrChallenge)
	r.now = start.Add(passkey.Life - time.Second)
	if err := judge(begun); err != nil {
		t.Error(err)
	}
	isRefused(t, judge(passkey.Ceremony{}), passkey.ErrChallenge)
	isRefused(t, judge(passkey.Ceremony{Type: "webauthn.get", Until: begun.Until}), passkey.ErrChallenge)
	begun.Type = "webauthn.create"
	isRefused(t, judge(begun), passkey.ErrType)
}

// What browsers and authenticators do unasked, and should.
func TestHonestOnesPass(t *testing.T) {
	for name, do := range map[string]hook{
		"Chromium protects it": data(func(b []byte) []byte {
			b[32] |= passkeytest.Extensions
			return append(b, passkeytest.CBOR(map[string]any{"credProtect": 2})...)
		}),
		"a security key is not backed up":    func(r *rig) { r.Flags = passkeytest.Present | passkeytest.Verified },
		"nothing is said of what it keeps":   answer("clientExtensionResults", map[string]any{}),
		"an id of 1023 bytes":                func(r *rig) { r.ID = bytes.Repeat([]byte{3}, 1023) },
		"a model says what it is":            data(func(b []byte) []byte { b[37] = 9; return b }),
		"client data of a later version":     client("other_keys_can_be_added_here", "do not compare clientDataJSON against a template"),
		"client data without a cross origin": func(r *rig) { r.Client = func(m map[string]any) { delete(m, "crossOrigin") } },
		"it attests itself": object(func(r *rig, o map[string]any) {
			client, authData := raw(t, o)
			o["fmt"], o["attStmt"] = "packed", map[string]any{"alg": -7, "sig": r.Sign(authData, client)}
		}),
	} {
		r := newRig(t, -7)
		do(r)
		c, err := r.create(t)
		if err != nil {
			t.Errorf("%s: %v %v", name, err, errors.Unwrap(err))
			continue
		}
		r.Data, r.Object, r.Answer = nil, nil, nil
		if _, err := r.get(t, c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for _, text := range []string{"", "{", "[]", "null", `{"id":"AA"}`, `{"id":"AA","id":"AA","rawId":"AA","type":"public-key"}`, strings.Repeat(" ", passkey.MaxAnswer+1), `{"id":7}`, "{}\n{}"} {
		if _, err := passkey.Read(text); refusal.Of(err) == nil {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

// FuzzAnswer: no answer makes a panic, and none passes but the one that was signed.
func FuzzAnswer(f *testing.F) {
	r := newRig(f, -7)
	c := r.made(f)
	get, options, _ := r.party.BeginGet()
	made, created, _ := r.party.BeginCreate(r.user, nil)
	good := r.Get(options)
	f.Add(good)
	f.Add(passkeytest.New(origin, -8).Create(created))
	f.Add(passkeytest.New(origin, -257).Create(created))
	fuzzing.Run(f, func(t *testing.T, text string) {
		a, err := passkey.Read(text)
		if err != nil {
			return
		}
		if credential, err := r.party.Created(made, a); err == nil && (len(credential.ID) == 0 || len(credential.ID) > passkey.MaxID || len(credential.Key) > passkey.MaxKey) {
			t.Errorf("%+v", credential)
		}
		if _, err := r.party.Asserted(get, a, c, r.user); err == nil && text != good {
			var x, y map[string]any
			if json.Unmarshal([]byte(text), &x) != nil || json.Unmarshal([]byte(good), &y) != nil {
				t.Error(text)
			}
			b := func(m map[string]any) string { v, _ := json.Marshal(m["response"]); return string(v) }
			if b(x) != b(y) {
				t.Errorf("passes: %s", text)
			}
		}
	})
}

func BenchmarkSignIn(b *testing.B) {
	r := newRig(b, -7)
	c := r.made(b)
	begun, options, _ := r.party.BeginGet()
	text := r.Get(options)
	for b.Loop() {
		a, err := passkey.Read(text)
		if err == nil {
			_, err = r.party.Asserted(begun, a, c, r.user)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
