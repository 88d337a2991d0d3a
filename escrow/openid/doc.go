// Package openid is the OpenID Provider through which platforms receive pen names.
//
// Platforms use plain OpenID Connect: discovery, the authorization code flow with
// PKCE (S256, required), and an ID token that package verifier/token verifies
// offline. Pushed requests (RFC 9126), DPoP (RFC 9449), introspection (RFC 7662),
// revocation (RFC 7009), rotating refresh tokens and a token status list
// (draft-ietf-oauth-status-list) are there for those who want them, and can be
// required platform by platform.
//
// # What it never learns
//
// The provider gets a [Subject] from the sign-in page: pseudonym, commitment,
// assurance level. It has no other word about a person, so no token, answer,
// error or row of its store can tell more. Whatever else a platform sends along
// (login_hint, claims, any unknown parameter) is dropped unread.
//
// # The flow
//
//	/authorize        checked here, then the library starts a session and calls [Authenticate]
//	/authorize/{id}   every later request of the sign-in page, until it is answered
//	/token            the code, or a refresh token, becomes tokens
//	/status/{n}       which tokens were revoked: fetched whole, so nobody learns which one is meant
//
// # Single use
//
// Whatever may be used once is used up by one statement of the [Store]:
//
//	session         ending its row: one caller wins
//	code            replacing the grant's row, from the version that was read
//	refresh token   the same, and a token that comes twice ends the grant
//	proof, assertion   Store.Use
//
// Ending a grant revokes all that was issued under it: refresh tokens and
// introspection at once, the status list within a minute.
//
// # The library
//
// The protocol engine is github.com/luikyv/go-oidc, whose API still moves. No
// type of it leaves this package. Requests are checked before it and errors are
// translated after it, because it compares redirect URIs after normalising them,
// takes two DPoP headers for none, looks at neither the scheme of an access token
// nor the age of its key, ignores request objects, answers an interaction as
// often as it is posted, and reports a failing store as an invalid grant.
package openid
