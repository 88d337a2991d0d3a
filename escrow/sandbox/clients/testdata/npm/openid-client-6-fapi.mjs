// openid-client 6, its example for the FAPI 2.0 security profile: private_key_jwt, PAR, DPoP.
import * as client from 'openid-client';
import { app, listen, callbackURL, ISSUER, CLIENT_ID, CLIENT_KEY, REDIRECT_URI } from './app.mjs';

const { kid, alg, ...jwk } = JSON.parse(CLIENT_KEY);
const key = await crypto.subtle.importKey('jwk', jwk, 'Ed25519', false, ['sign']);
const config = await client.discovery(new URL(ISSUER), CLIENT_ID, undefined, client.PrivateKeyJwt({ key, kid }), { execute: [client.allowInsecureRequests] });
const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair());

app.get('/login', async (req, res) => {
  const verifier = client.randomPKCECodeVerifier();
  req.session.verifier = verifier;
  const to = await client.buildAuthorizationUrlWithPAR(config, {
    redirect_uri: REDIRECT_URI,
    scope: 'openid email',
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  }, { DPoP });
  res.redirect(to.href);
});

app.get('/callback', async (req, res) => {
  const tokens = await client.authorizationCodeGrant(config, callbackURL(req), { pkceCodeVerifier: req.session.verifier, idTokenExpected: true }, undefined, { DPoP });
  const userinfo = await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub, { DPoP });
  if (tokens.token_type !== 'dpop') throw new Error('the token is not bound');
  res.send(`signed in as ${userinfo.sub}`);
});

listen();
