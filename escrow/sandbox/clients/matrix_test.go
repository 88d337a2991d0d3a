// Package clients signs people in with OpenID Connect clients that nobody of this
// project wrote, each as its own documentation sets it up: see testdata.
package clients

// client is a client and what is expected of it.
type client struct {
	name     string // as people know it
	version  version
	command  []string // starts its app; the first word is found in testdata
	light    bool     // part of every test run
	browser  bool     // its page needs scripts, and so a Chromium
	callback string   // path of the redirect URI; "": /callback
	start    string   // path where a person begins; "": /login
	button   string   // on the client's own page
	public   bool     // a client without a secret
	keys     bool     // a client that signs instead
	username bool     // registered with a handle
	email    bool     // registered with an e-mail address

	// Of a client that does not sign in by default.
	fails   string // what its page says
	why     string // for the table
	setting string // its documented setting that helps; "": none does
	set     string // the variable that sets it in the app

	wrong []string // what an examination from outside finds wrong with it, by default
}

const neither = "sends neither PKCE nor a nonce (RFC 9700, 2.1.1)"

// refused is what is found of those.
var refused = []string{"request.code_challenge", "issuer.answer"}

// matrix is every client that was tried.
var matrix = []client{
	{name: "openid-client 6: code, refresh, introspection", version: npm("openid-client"), command: node("openid-client-6"), light: true},
	{name: "openid-client 6: PAR, DPoP, private_key_jwt", version: npm("openid-client"), command: node("openid-client-6-fapi"), light: true, keys: true},
	{name: "openid-client 6, its strategy for Passport", version: npm("openid-client"), command: node("openid-client-passport")},
	{name: "openid-client 5", version: npm("openid-client-5"), command: node("openid-client-5")},
	{name: "oauth4webapi", version: npm("oauth4webapi"), command: node("oauth4webapi")},
	{name: "jose", version: npm("jose"), command: node("jose"), light: true},
	{name: "Auth.js core, under Express", version: npm("@auth/core"), command: node("auth-js"), callback: "/auth/callback/penname", start: "/auth/signin?callbackUrl=/", button: "Sign in with Penname"},
	{name: "next-auth 4, its handler without Next.js", version: npm("next-auth"), command: node("next-auth-4"), callback: "/api/auth/callback/penname", start: "/api/auth/signin?callbackUrl=/", button: "Sign in with Penname"},
	{name: "express-openid-connect", version: npm("express-openid-connect"), command: node("express-openid-connect"), start: "/",
		fails: "authorization response from the server is an error", why: "asks for an ID token without a code (response_type=id_token)", setting: "response_type: 'code'", set: "CODE",
		wrong: []string{"request.response_type", "issuer.answer"}},
	{name: "passport-openidconnect", version: npm("passport-openidconnect"), command: node("passport"), fails: "code_challenge or nonce is missing", why: neither, setting: "nonce: true", set: "NONCE", wrong: refused},
	{name: "oidc-client-ts, in Chromium", version: npm("oidc-client-ts"), command: node("oidc-client-ts"), public: true, browser: true, wrong: []string{"start"}}, // scripts are not run
	{name: "@fastify/oauth2, with discovery", version: npm("@fastify/oauth2"), command: node("fastify")},
	{name: "@badgateway/oauth2-client", version: npm("@badgateway/oauth2-client"), command: node("badgateway")},
	{name: "arctic", version: npm("arctic"), command: node("arctic")},
	{name: "grant", version: npm("grant"), command: node("grant"), start: "/connect/penname", callback: "/connect/penname/callback"},
	{name: "better-auth, generic OAuth", version: npm("better-auth"), command: node("better-auth"), callback: "/api/auth/callback/penname", email: true},
	{name: "simple-oauth2", version: npm("simple-oauth2"), command: node("simple-oauth2"), fails: "code_challenge or nonce is missing", why: neither, wrong: refused},
	{name: "x/oauth2 and go-oidc", version: module("github.com/coreos/go-oidc/v3"), command: goProgram("go-oidc"), light: true, fails: "code_challenge or nonce is missing", why: neither, setting: "oidc.Nonce", set: "NONCE", wrong: refused},
	{name: "zitadel/oidc", version: module("github.com/zitadel/oidc/v3"), command: goProgram("zitadel"), light: true, fails: "code_challenge or nonce is missing", why: neither, setting: "rp.WithPKCE", set: "PKCE", wrong: refused},
	{name: "hashicorp/cap, in Vault and Boundary", version: module("github.com/hashicorp/cap"), command: goProgram("cap"), wrong: []string{"cookies"}}, // its example keeps what belongs to a sign-in by the state alone
	{name: "goth", version: module("github.com/markbates/goth"), command: goProgram("goth"), fails: "code_challenge or nonce is missing", why: neither, wrong: refused},
	{name: "oauth2-proxy", version: module("github.com/oauth2-proxy/oauth2-proxy/v7"), command: []string{"./oauth2-proxy.sh"}, start: "/oauth2/sign_in?rd=/oauth2/userinfo", callback: "/oauth2/callback",
		button: "Sign in with OpenID Connect", fails: "code_challenge", why: neither + " and wants an e-mail address", setting: "--code-challenge-method=S256 --oidc-email-claim=sub", set: "HELPED", wrong: refused},
	{name: "Authlib, under Flask", version: debian("python3-authlib"), command: []string{"/usr/bin/python3", "authlib_flask.py"}},
	{name: "python-social-auth, under Django", version: debian("python3-social-auth-core"), command: []string{"/usr/bin/python3", "social_django_app.py"},
		start: "/login/oidc/", callback: "/complete/oidc/"},
	{name: "mod_auth_openidc, in Apache", version: debian("libapache2-mod-auth-openidc"), command: []string{"./apache.sh"}, start: "/", callback: "/redirect_uri"},
	{name: "omniauth_openid_connect, under Sinatra", version: debian("ruby-omniauth-openid-connect"), command: []string{"/usr/bin/ruby", "omniauth.rb"}, callback: "/auth/openid_connect/callback", button: "Sign in with Penname"},
}
