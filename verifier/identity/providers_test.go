package identity

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/refusal"
)

type claims = map[string]any

// providerShapes are the claims of real providers as their documentation has them,
// about people who do not exist. Shapes only: what they say of the sign-in itself is
// that of lyingOP.
var providerShapes = []struct {
	name, doc         string
	scopes            []string
	idToken, userInfo claims
	want              Identity       // name, birth date, address, email
	refused           *refusal.Error // nil: accepted
}{
	{name: "FranceConnect", doc: "https://github.com/proconnect-gouv/federation/blob/main/web/apps/doc-partners/content/fs/technique/technique-scope-fc.md", scopes: []string{"given_name", "family_name", "birthdate"},
		userInfo: claims{"given_name": "Anouk Zélie", "family_name": "VERDELET", "birthdate": "1984-01-01", "gender": "female", "birthplace": "", "birthcountry": "99109", "preferred_username": "DE LA COMBE"},
		want:     Identity{Name: "Anouk Zélie VERDELET", Birthdate: "1984-01-01"}},
	{name: "itsme", doc: "https://belgianmobileid.github.io/doc/authentication/", scopes: []string{"profile", "address"},
		idToken: claims{"name": "Wout Kerkhove", "birthdate": "1971", "phone_number": "+32 000", "phone_number_verified": true,
			"address": claims{"formatted": "Molenweg 9\r\n9999 Nergens", "street_address": "Molenweg 9", "postal_code": "9999", "locality": "Nergens", "country": "Belgium"}},
		want: Identity{Name: "Wout Kerkhove", Birthdate: "1971", Address: "Molenweg 9\n9999 Nergens"}},
	{name: "BankID, Norway", doc: "https://developer.signicat.com/identity-methods/nbid/attributes-reference/",
		userInfo: claims{"family_name": "Fjellvåg", "given_name": "Ragnhild", "birthdate": "1990-11-30", "nin": "30119000000", "nin_type": "BIRTH", "nbid_amr": "bid, bid-mfa", "nbid_updated_at": "1708682096000"},
		want:     Identity{Name: "Ragnhild Fjellvåg", Birthdate: "1990-11-30"}},
	{name: "BankID, Sweden", doc: "https://developer.signicat.com/identity-methods/sbid/code-examples.html",
		idToken: claims{"idp": "sbid", "family_name": "Björklund", "given_name": "Åke", "birthdate": "1966-05-04", "amr": []string{"external"}},
		want:    Identity{Name: "Åke Björklund", Birthdate: "1966-05-04"}},
	{name: "BankID, Sweden, by a broker without birth dates", doc: "https://docs.idura.app/verify/reference/token-contents",
		idToken: claims{"identityscheme": "sebankid", "nameidentifier": "0000", "ssn": "196605040000", "name": "Åke Björklund", "given_name": "Åke", "family_name": "Björklund", "ipaddress": "192.0.2.1", "country": "SE"},
		want:    Identity{Name: "Åke Björklund"}},
	{name: "Yivi, by a bridge that maps", doc: "https://docs.yivi.app/",
		idToken: claims{"name": "Tjitske van der Wiel", "birthdate": "1979-08-02", "pbdf.gemeente.personalData.over18": "Ja"},
		want:    Identity{Name: "Tjitske van der Wiel", Birthdate: "1979-08-02"}},
	{name: "Yivi, attributes as they are", doc: "https://docs.yivi.app/",
		idToken: claims{"pbdf.gemeente.personalData.fullname": "Tjitske van der Wiel", "pbdf.gemeente.personalData.dateofbirth": "02-08-1979"},
		refused: ErrMissingClaim},
	{name: "Singpass", doc: "https://docs.developer.singpass.gov.sg/docs/technical-specifications/singpass-authentication-api/3.-userinfo-endpoint",
		userInfo: claims{"name": claims{"lastupdated": "2026-01-01", "source": "1", "classification": "C", "value": "TAN WEI LING"}, "dob": claims{"value": "1988-10-10"}},
		refused:  ErrMalformed},
	{name: "Keycloak", doc: "https://www.keycloak.org/docs-api/latest/javadocs/org/keycloak/representations/UserInfo.html", scopes: []string{"profile", "address", "email"},
		userInfo: claims{"name": "Ida Quarrington", "given_name": "Ida", "family_name": "Quarrington", "preferred_username": "ida", "birthdate": "1992-02-29",
			"email": "ida@mail.example", "email_verified": true, "address": claims{}, "updated_at": 1_700_000_000},
		want: Identity{Name: "Ida Quarrington", Birthdate: "1992-02-29", Email: "ida@mail.example"}},
	{name: "Microsoft Entra ID", doc: "https://learn.microsoft.com/en-us/entra/identity-platform/id-token-claims-reference", scopes: []string{"profile", "email"},
		idToken:  claims{"name": "Ida Quarrington", "preferred_username": "ida@tenant.example", "email": "ida@tenant.example", "oid": "0", "tid": "0", "ver": "2.0", "xms_edov": "1"},
		userInfo: claims{"name": "Ida Quarrington", "given_name": "Ida", "family_name": "Quarrington", "email": "ida@tenant.example", "picture": "https://graph.example/me"},
		want:     Identity{Name: "Ida Quarrington"}},
	{name: "Amazon Cognito", doc: "https://docs.aws.amazon.com/cognito/latest/developerguide/userinfo-endpoint.html",
		userInfo: claims{"email": "ida@mail.example", "email_verified": "true", "name": "Ida Quarrington", "birthdate": "1992-02-29", "address": "2 Low Road", "phone_number_verified": "false", "username": "ida"},
		want:     Identity{Name: "Ida Quarrington", Birthdate: "1992-02-29"}},
	{name: "Amazon Cognito, asked for the email", doc: "https://docs.aws.amazon.com/cognito/latest/developerguide/userinfo-endpoint.html", scopes: []string{"profile", "email"},
		userInfo: claims{"email": "ida@mail.example", "email_verified": "true", "name": "Ida Quarrington", "birthdate": "1992-02-29"},
		want:     Identity{Name: "Ida Quarrington", Birthdate: "1992-02-29", Email: "ida@mail.example"}},
	{name: "Okta", doc: "https://developer.okta.com/docs/api/openapi/okta-oauth/oauth/tag/OrgAS/#tag/OrgAS/operation/userinfo", scopes: []string{"profile", "address", "email"},
		userInfo: claims{"name": "Ida Quarrington", "nickname": nil, "given_name": "Ida", "middle_name": nil, "family_name": "Quarrington", "birthdate": "1992-02-29", "zoneinfo": "Europe/Lisbon",
			"email": "ida@mail.example", "email_verified": false, "address": claims{"street_address": "2 Low Road", "locality": "Little Nowhere", "region": nil, "postal_code": "0000", "country": "PT"}},
		want: Identity{Name: "Ida Quarrington", Birthdate: "1992-02-29", Address: "2 Low Road\nLittle Nowhere\n0000\nPT"}},
	{name: "Auth0", doc: "https://auth0.com/docs/api/authentication/user-profile/get-user-info",
		userInfo: claims{"name": "Ida Quarrington", "nickname": "ida", "picture": "https://pictures.example/i.png", "email": "ida@mail.example", "email_verified": true, "updated_at": "2026-01-01T00:00:00.000Z", "birthdate": "0000-02-29"},
		want:     Identity{Name: "Ida Quarrington", Birthdate: "0000-02-29"}},
	{name: "dex", doc: "https://dexidp.io/docs/configuration/custom-scopes-claims-clients/",
		idToken: claims{"name": "Ida Quarrington", "email": "ida@mail.example", "email_verified": true, "groups": []string{"staff"}, "federated_claims": claims{"connector_id": "ldap", "user_id": "ida"}},
		want:    Identity{Name: "Ida Quarrington"}},
	{name: "Mobiil-ID, with a month that is none", doc: "https://developer.signicat.com/identity-methods/mobiilid/attribute-reference/",
		idToken: claims{"name": "LIIS TAMMEPUU", "birthdate": "1990-17-02"}, refused: ErrMalformed},
}

// TestFoundF1ClaimsAsProvidersSendThem: the documented shapes of real providers.
func TestFoundF1ClaimsAsProvidersSendThem(t *testing.T) {
	for _, shape := range providerShapes {
		t.Run(shape.name, func(t *testing.T) {
			if !strings.HasPrefix(shape.doc, "https://") {
				t.Error("no documentation")
			}
			op := newOP(t)
			op.claims = func(c map[string]any) { merge(c, shape.idToken) }
			op.userinfo = func(c map[string]any) { clear(c); merge(c, shape.userInfo); c["sub"] = "alice" }
			id, err := op.enrol(t, op.party(t, func(p *Provider) { p.Scopes = shape.scopes }))
			if shape.refused != nil {
				if !shape.refused.Is(refusal.Of(err)) {
					t.Errorf("%v (%v), want %s", err, errorsCause(err), shape.refused.Code)
				}
				return
			}
			if err != nil {
				t.Fatal(err, errorsCause(err))
			}
			if id.Name != shape.want.Name || id.Birthdate != shape.want.Birthdate || id.Address != shape.want.Address || id.Email != shape.want.Email {
				t.Errorf("got %q %q %q %q", id.Name.Reveal(), id.Birthdate.Reveal(), id.Address.Reveal(), id.Email.Reveal())
			}
		})
	}
}

func errorsCause(err error) error {
	if e := refusal.Of(err); e != nil {
		return e.Unwrap()
	}
	return nil
}

func merge(into, from claims) {
	for name, value := range from {
		into[name] = value
	}
}

// TestFoundF1WhatWasNotAskedForIsNotJudged: claims of any kind that no scope asks for
// decide nothing, and those that were asked for are what Core, 5.1, says.
func TestFoundF1WhatWasNotAskedForIsNotJudged(t *testing.T) {
	for name, lie := range map[string]func(map[string]any){
		"email_verified as text": set("email_verified", "true"), "email a number": set("email", 1), "address as text": set("address", "1 High Street"),
		"address a list": set("address", []int{1}), "an address that says nothing": set("address", claims{"formatted": 3}),
		"the parts of a name odd": func(c map[string]any) { c["given_name"], c["family_name"] = 1, []string{"x"} },
	} {
		op := newOP(t)
		op.userinfo = lie
		id, err := op.enrol(t, op.party(t, func(p *Provider) { p.Scopes = nil }))
		if accepted(t, id, err); t.Failed() {
			t.Fatal(name)
		}
	}
	for _, written := range []string{"山田\u3000太郎", "Anne\u00a0Marie O’Toole", "می\u200cخواهم", "葛\U000e0100城 花", "Ngũgĩ wa Thiong'o", "Łukasz Ó Súilleabháin", "נעמי בן־דוד"} {
		op := newOP(t)
		op.userinfo = set("name", written)
		id, err := op.enrol(t, op.party(t))
		if err != nil || id.Name.Reveal() != written {
			t.Errorf("%+q: %v (%v)", written, err, errorsCause(err))
		}
	}
	for name, lie := range map[string]func(map[string]any){
		"a family name alone": func(c map[string]any) { delete(c, "name"); c["family_name"] = "Weathervane" },
		"a blank given name":  func(c map[string]any) { c["name"] = nil; c["given_name"], c["family_name"] = " ", "Weathervane" },
	} {
		op := newOP(t)
		op.userinfo = lie
		id, err := op.enrol(t, op.party(t))
		if refused(t, id, err, ErrMissingClaim); t.Failed() {
			t.Fatal(name)
		}
	}
}

// oneLogin makes a provider of the preset's kind out of an honest one.
func oneLogin(t *testing.T, op *lyingOP, lie func(core claims)) (*RelyingParty, *jose.JSONWebKey) {
	t.Helper()
	client := &jose.JSONWebKey{Key: rsaKey(), KeyID: "ours", Algorithm: "PS256"}
	core := ecKey(t)
	u, err := url.Parse(op.URL)
	if err != nil {
		t.Fatal(err)
	}
	did := "did:web:" + strings.ReplaceAll(u.Host, ":", "%3A")
	op.discovery = func(m map[string]any) {
		m["token_endpoint_auth_methods_supported"] = []string{"private_key_jwt", "client_secret_post"}
		delete(m, "code_challenge_methods_supported")
	}
	op.claims = func(c map[string]any) {
		delete(c, "acr")
		c["vot"], c["vtm"] = "Cl.Cm", "https://oidc.account.gov.uk/trustmark"
	}
	op.extra = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/.well-known/did.json" {
			op.answer(w, claims{"@context": []string{"https://www.w3.org/ns/did/v1"}, "id": did, "assertionMethod": []claims{{"type": "JsonWebKey", "id": did + "#k", "controller": did,
				"publicKeyJwk": jose.JSONWebKey{Key: core.Public(), Algorithm: "ES256"}}}}, nil)
		}
		return r.URL.Path == "/.well-known/did.json"
	}
	op.userinfo = func(c map[string]any) {
		clear(c)
		payload := claims{"iss": op.URL, "sub": "alice", "aud": ourID, "vot": "P2", "exp": op.start.Add(time.Hour).Unix(), "nbf": op.start.Unix(),
			"vc": claims{"type": []string{"VerifiableCredential", "IdentityCheckCredential"}, "credentialSubject": claims{
				"name": []claims{
					{"validUntil": "2019-06-01", "nameParts": []claims{{"type": "GivenName", "value": "Alice"}, {"type": "FamilyName", "value": "Millrace"}}},
					{"validFrom": "2019-06-02", "nameParts": []claims{{"type": "FamilyName", "value": "Weathervane"}, {"type": "GivenName", "value": "Alice"}}}},
				"birthDate": []claims{{"value": "1980-02-29"}, {"value": "1980-03-01"}}}}}
		signer := core
		if lie != nil {
			lie(payload)
		}
		if payload["forged"] != nil {
			signer = op.key
		}
		raw, err := json.Marshal(payload)
		if err != nil {
			t.Error(err)
		}
		c["sub"], c["email"], c["email_verified"] = "alice", "alice@mail.example", true
		if payload["absent"] == nil {
			c[coreIdentityClaim] = jws(t, jose.ES256, signer, did+"#k", nil, raw)
		}
	}
	p, ok := Preset("gov-uk-one-login")
	if !ok {
		t.Fatal("no preset")
	}
	p.Issuer, p.ClientID, p.ClientKey, p.RedirectURL, p.AllowLoopback = op.URL, ourID, client, ourRedirect, true
	rp, err := newRelyingParty(t.Context(), p, op.now, defaultLimits, nil)
	if err != nil {
		t.Fatal(err, errorsCause(err))
	}
	t.Cleanup(rp.Close)
	return rp, client
}

// TestGOVUKOneLogin: the preset asks for what its documentation wants, proves itself
// with a key, and believes the core identity alone.
func TestGOVUKOneLogin(t *testing.T) {
	op := newOP(t)
	op.assertions = true
	rp, client := oneLogin(t, op, nil)
	f, authURL := rp.Begin()
	u, err := url.Parse(authURL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if q.Get("vtr") != `["Cl.Cm.P2"]` || q.Has("acr_values") || q.Get("scope") != "openid" || q.Get("claims") != fmt.Sprintf(`{"userinfo":{%q:null}}`, coreIdentityClaim) {
		t.Error(authURL)
	}
	id, err := rp.Finish(t.Context(), f, op.authorize(authURL))
	if accepted(t, id, err); id.Birthdate != "1980-02-29" || id.ACR != "P2" || id.Email != "" {
		t.Errorf("%s %s %s", id.Birthdate.Reveal(), id.ACR, id.Email.Reveal())
	}
	assertion, err := jose.ParseSignedCompact(op.tokenForm.Get("client_assertion"), []jose.SignatureAlgorithm{jose.PS256})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := assertion.Verify(client.Public())
	var said struct {
		Subject string `json:"sub"`
		Expiry  int64  `json:"exp"`
	}
	if err != nil || json.Unmarshal(payload, &said) != nil || said.Subject != ourID || said.Expiry != op.start.Add(time.Minute).Unix() ||
		!strings.Contains(string(payload), `"aud":"`+op.URL+`/token"`) || op.tokenForm.Has("client_secret") {
		t.Errorf("%v: %s", err, payload)
	}
	for name, tc := range map[string]struct {
		lie  func(claims)
		want *refusal.Error
	}{
		"nobody proved it":    {set("absent", true), ErrAssurance},
		"of a lower level":    {set("vot", "P1"), ErrAssurance},
		"of another person":   {set("sub", "mallory"), ErrSubMismatch},
		"for another client":  {set("aud", "somebody"), ErrBadAudience},
		"of another issuer":   {set("iss", "https://identity.example/"), ErrBadIssuer},
		"signed by the login": {set("forged", true), ErrBadSignature},
		"that has ended":      {set("exp", op.start.Add(-time.Hour).Unix()), ErrBadTime},
		"without an end":      {drop("exp"), ErrBadTime},
		"without a name":      {set("vc", claims{}), ErrMissingClaim},
	} {
		op := newOP(t)
		op.assertions = true
		rp, _ := oneLogin(t, op, tc.lie)
		id, err := op.enrol(t, rp)
		if refused(t, id, err, tc.want); t.Failed() {
			t.Fatal(name)
		}
	}
}

// TestFranceConnect: the preset takes UserInfo as a signed token, encrypted or not,
// and in no other form.
func TestFranceConnect(t *testing.T) {
	ours := &jose.JSONWebKey{Key: ecKey(t), KeyID: "enc", Algorithm: "ECDH-ES", Use: "enc"}
	person := claims{"sub": "alice", "aud": ourID, "given_name": "Alice", "family_name": "Weathervane", "birthdate": "1980-02-29"}
	encrypt := func(key any, raw string) string {
		e, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.ECDH_ES, Key: key}, (&jose.EncrypterOptions{}).WithContentType("JWT"))
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := e.Encrypt([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		out, err := sealed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for name, tc := range map[string]struct {
		media string
		lie   func(claims)
		wrap  func(raw string) string
		want  *refusal.Error
	}{
		"pass":                        {wrap: func(raw string) string { return encrypt(ours.Public(), raw) }},
		"pass signed alone":           {},
		"encrypted to somebody":       {wrap: func(raw string) string { return encrypt(ecKey(t).Public(), raw) }, want: ErrMalformed},
		"plain":                       {media: "application/json", want: ErrMalformed},
		"of another issuer":           {lie: set("iss", "https://evil.example"), want: ErrBadAudience},
		"for another client":          {lie: set("aud", "somebody"), want: ErrBadAudience},
		"of another person":           {lie: set("sub", "mallory"), want: ErrSubMismatch},
		"with a signature by a guest": {wrap: func(raw string) string { return raw[:len(raw)-8] + "AAAAAAAA" }, want: ErrBadSignature},
	} {
		op := newOP(t)
		op.discovery = set("token_endpoint_auth_methods_supported", []string{"client_secret_basic"})
		op.claims = set("acr", "eidas2")
		op.token = func(m map[string]any) { m["id_token"] = encrypt(ours.Public(), m["id_token"].(string)) }
		op.extra = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/userinfo" {
				return false
			}
			payload := claims{"iss": op.URL}
			merge(payload, person)
			if tc.lie != nil {
				tc.lie(payload)
			}
			raw, err := json.Marshal(payload)
			if err != nil {
				t.Error(err)
			}
			body := string(raw)
			if tc.media == "" {
				tc.media, body = "application/jwt", jws(t, jose.ES256, op.key, "k1", nil, raw)
			}
			if tc.wrap != nil {
				body = tc.wrap(body)
			}
			w.Header().Set("Content-Type", tc.media)
			fmt.Fprint(w, body)
			return true
		}
		p, _ := Preset("franceconnect")
		p.Issuer, p.ClientID, p.ClientSecret, p.DecryptionKey, p.RedirectURL, p.AllowLoopback = op.URL, ourID, ourSecret, ours, ourRedirect, true
		rp, err := newRelyingParty(t.Context(), p, op.now, defaultLimits, nil)
		if err != nil {
			t.Fatal(err, errorsCause(err))
		}
		_, authURL := rp.Begin()
		if !strings.Contains(authURL, "acr_values=eidas2+eidas3") || !strings.Contains(authURL, "scope=openid+given_name+family_name+birthdate") {
			t.Error(authURL)
		}
		id, err := op.enrol(t, rp)
		if tc.want != nil {
			refused(t, id, err, tc.want)
		} else if accepted(t, id, err); id.ACR != "eidas2" || id.Birthdate != "1980-02-29" {
			t.Errorf("%s %s", id.ACR, id.Birthdate.Reveal())
		}
		if rp.Close(); t.Failed() {
			t.Fatal(name)
		}
	}
}
