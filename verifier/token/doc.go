// Package token answers one question for a platform: is this pen name real?
//
// A platform receives a signed token in place of an account name. Verify it
// offline with a [Verifier], keep its [Pseudonym] as the user id, and ban, thank
// or remember that. No call to the issuer is needed but for its public keys and,
// if tokens carry a status, for a list that says nothing about which token is
// looked up.
//
//	keys := token.HTTPKeySource("https://penname.example/jwks", nil, time.Now)
//	v := &token.Verifier{ // make one and share it: it keeps keys and lists
//		Issuer:   "https://penname.example",
//		Audience: "town-square", // this platform's client_id
//		Keys:     keys,
//		Status:   token.NewHTTPStatusSource("https://penname.example", keys, nil, time.Now),
//		Leeway:   time.Minute,
//	}
//	t, err := v.Verify(ctx, idToken) // t.Subject is "pen1…"
//
// After a sign-in compare t.Nonce with the one that you sent. An API that takes
// access tokens sets Typ to [TypAccess] and wraps its handler in
// [Verifier.Middleware].
//
// # The token
//
// A token is a JWS in compact serialization (RFC 7515, section 7.1), signed with
// EdDSA over Ed25519 (RFC 8037) or ES256 (RFC 7518, section 3.4). Its header
// holds alg, kid and typ: "JWT" or nothing for an ID token (OpenID Connect
// Core), "at+jwt" for an access token (RFC 9068). Its claims are
//
//	iss                 the issuer, compared byte by byte
//	sub                 the pseudonym, see below
//	aud                 exactly one audience: the platform
//	exp, iat            seconds since 1970 (NumericDate), both required; nbf is honoured
//	jti                 the token's own id
//	acr                 how well the person was proven
//	penname_commitment  32 bytes, base64url: see [Commit]
//	nonce               optional, echoed from the sign-in request; compare it
//	status              optional, {"status_list":{"idx":0,"uri":"https://…"}}
//	cnf                 optional, {"jkt":"…"}: the token is bound to a DPoP key
//
// Everything from iss to penname_commitment is required: an absent claim is a
// rejection, not a default.
//
// # The pseudonym
//
// A pseudonym is 16 bytes in bech32m (BIP 350) with the human-readable part
// "pen": 36 lower case characters such as
//
//	pen1qqqsyqcyq5rqwzqfpg9scrgwpusvvflz
//
// It survives being copied by hand onto a paper order: any error in up to four
// characters is detected, and the alphabet leaves out 1, b, i and o. The same person
// has another, unlinkable pseudonym on every platform, and the same one on the same
// platform for life.
//
// # Limits
//
// Sizes are checked before anything is parsed: 8 KiB for a token, 2 KiB for its
// header, 16 levels of JSON. JSON is read strictly: no duplicate members, exact
// case, valid UTF-8, no lone surrogates. Base64url is read strictly: no padding,
// no white space, unused bits zero, so bytes have one spelling. Keys come from
// the configured [KeySet] and nowhere else: a header that brings a key or points
// to one (jwk, jku, x5c, x5u) is refused without following it.
//
// # Proof of possession, status, evidence
//
// [SignDPoP] and [VerifyDPoP] bind a token to a key (RFC 9449);
// [Verifier.Middleware] does both for net/http. [StatusSource] answers whether a
// token was withdrawn (draft-ietf-oauth-status-list). [SignEvidence] makes the
// bundle that a platform gives to a court, and [VerifyEvidence] reads it years
// later.
//
// # Errors
//
// Every error is a [refusal.Error]: a stable code such as
// "invalid_token.expired" and one constant sentence. Neither holds anything from
// the token.
package token
