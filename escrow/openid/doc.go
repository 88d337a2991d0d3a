// Package openid is the OpenID Provider through which platforms receive pen names.
//
// Platforms use plain OpenID Connect: discovery, the authorization code flow with
// PKCE (S256) or a nonce, and an ID token that package verifier/token verifies
// offline. Pushed requests (RFC 9126), DPoP (RFC 9449), introspection (RFC 7662),
// revocation (RFC 7009), rotating refresh tokens and a token status list
// (draft-ietf-oauth-status-list) are there for those who want them, and can be
// required platform by platform.
//
// # What it never learns
//
// The provider gets a [Subject] from the sign-in page: pseudonym, commitment,
// assurance level, when the person proved who they are, and a handle, which is a part of
// the pseudonym or is refused. The e-mail address that some platforms want is made of the
// pseudonym. Claims that a platform asks for, and that the person ticked, come with the
// subject and are held encrypted under the grant's id. It has no other word about a person,
// so no token, answer, error or row of its store can tell more. Claims are asked for by
// scopes. Of ui_locales it keeps a tag of its own list. Whatever else a platform sends along (login_hint, the claims parameter, any
// unknown one) is dropped unread.
//
// # A sign-in, and where it turns back
//
// The library calls the sign-in page through one hook, [Authenticate]. The page
// belongs to the server around it (package web/person):
//
//	browser   →  /authorize               checked here; the library opens a session
//	library   →  Provider.ask             its one policy; a request that came as a POST is
//	                                      led on to /authorize/{id}
//	          →  Authenticate             web/person: who is this, and do they agree?
//	browser   ←  consent page             Pending: the session is stored, the page waits
//
//	browser   →  /enrol                   if nobody is signed in: web/person leads to an
//	          →  identity provider        identity provider and back, verifier/identity
//	          →  /enrol/callback/…        judges the answer, issue knows the person
//
//	browser   →  /authorize/{id}          every later request of this sign-in, until it is
//	library   →  Provider.ask             answered, goes the same way as the first
//	          →  Authenticate             Approved, with a [Subject] from issue.Pseudonym
//	library   →  manager.SaveGrant        stores the grant, then asks Subject.Confirm:
//	                                      did they delete themself meanwhile?
//	browser   ←  the platform, with a code
//
//	platform  →  /token                   the code, or a refresh token, becomes tokens
//	          →  /status/{n}              which tokens were revoked: fetched whole, so
//	                                      nobody learns which one is meant
//
// Nothing else turns back, except for two notices: Config.ErrorPage, what to show
// a person, and Config.Refused, what to write to the log.
//
// # Single use
//
// Whatever may be used once is used up by one statement of the [Store]:
//
//	session         ending its row: one caller wins
//	code            replacing the grant's row, from the version that was read
//	refresh token   the same, and a token that comes twice ends the grant
//	proof, assertion   the Store's ReplayGuard of package verifier/token
//
// Ending a grant revokes all that was issued under it: refresh tokens and
// introspection at once, the status list within a minute. Who leaves all platforms at
// once does so without a sign: see [Provider.EndQuietly].
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
