// jose, README "JWT Claims Set Validation & Signature Verification using a remote JWKS": the
// flow around it is written by hand, as people do who want no library for it.
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { randomUUID } from 'node:crypto';
import { app, listen, ISSUER, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI } from './app.mjs';

const discovery = await fetch(`${ISSUER}/.well-known/openid-configuration`).then((response) => response.json());
const JWKS = createRemoteJWKSet(new URL(discovery.jwks_uri));

app.get('/login', (req, res) => {
  Object.assign(req.session, { state: randomUUID(), nonce: randomUUID() });
  const { state, nonce } = req.session;
  res.redirect(`${discovery.authorization_endpoint}?${new URLSearchParams({ response_type: 'code', client_id: CLIENT_ID, redirect_uri: REDIRECT_URI, scope: 'openid', state, nonce })}`);
});

app.get('/callback', async (req, res) => {
  if (req.query.state !== req.session.state) throw new Error('another state');
  const response = await fetch(discovery.token_endpoint, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'authorization_code', code: req.query.code, redirect_uri: REDIRECT_URI, client_id: CLIENT_ID, client_secret: CLIENT_SECRET }),
  });
  const { payload } = await jwtVerify((await response.json()).id_token, JWKS, { issuer: ISSUER, audience: CLIENT_ID });
  if (payload.nonce !== req.session.nonce) throw new Error('another nonce');
  res.send(`signed in as ${payload.sub}`);
});

listen();
