// arctic, "Generic OAuth 2.0 client" with PKCE.
import * as arctic from 'arctic';
import { app, listen, ISSUER, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI } from './app.mjs';

const client = new arctic.OAuth2Client(CLIENT_ID, CLIENT_SECRET, REDIRECT_URI);

app.get('/login', (req, res) => {
  Object.assign(req.session, { state: arctic.generateState(), verifier: arctic.generateCodeVerifier() });
  res.redirect(client.createAuthorizationURLWithPKCE(`${ISSUER}/authorize`, req.session.state, arctic.CodeChallengeMethod.S256, req.session.verifier, ['openid', 'profile', 'email']).href);
});
app.get('/callback', async (req, res) => {
  if (req.query.state !== req.session.state) throw new Error('another state');
  const tokens = await client.validateAuthorizationCode(`${ISSUER}/token`, req.query.code, req.session.verifier);
  res.send(`signed in as ${arctic.decodeIdToken(tokens.idToken()).sub}`);
});

listen();
