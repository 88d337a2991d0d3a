// simple-oauth2, README "Authorization Code Grant": OAuth 2.0 only, who it is says /userinfo.
import { createRequire } from 'node:module';
import { randomUUID } from 'node:crypto';
import { app, listen, ISSUER, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI } from './app.mjs';

const { AuthorizationCode } = createRequire(import.meta.url)('simple-oauth2');
const client = new AuthorizationCode({ client: { id: CLIENT_ID, secret: CLIENT_SECRET }, auth: { tokenHost: ISSUER, tokenPath: '/token', authorizePath: '/authorize' } });

app.get('/login', (req, res) => res.redirect(client.authorizeURL({ redirect_uri: REDIRECT_URI, scope: 'openid', state: req.session.state = randomUUID() })));
app.get('/callback', async (req, res) => {
  if (req.query.error) throw new Error(req.query.error_description);
  const { token } = await client.getToken({ code: req.query.code, redirect_uri: REDIRECT_URI });
  const { sub } = await fetch(`${ISSUER}/userinfo`, { headers: { Authorization: `Bearer ${token.access_token}` } }).then((response) => response.json());
  res.send(`signed in as ${sub}`);
});

listen();
