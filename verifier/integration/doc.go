// Package integration examines from outside how a platform signs people in, and says
// what is wrong and how to mend it.
//
// [Examine] begins sign-ins as a browser without scripts would, follows them to the
// issuer's authorization endpoint, and judges what it saw on the way: the issuer, the
// request, the cookies. Then it plays the answers that an issuer or an attacker could
// send to the platform's callback. It never gives a person's answer to the issuer, so
// no sign-in is ever completed, and it needs no credentials.
//
// It is apart from the rest because it trusts nothing that it reads: pages, redirects
// and documents come from strangers, and no key or secret is near. What it cannot
// see it says: a request that was pushed (RFC 9126), what scripts do, and what the
// platform asks the issuer behind the browser's back.
package integration
