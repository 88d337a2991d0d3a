// openid-client 6, README "Authorization Code Flow", then its refresh and introspection.
import * as client from 'openid-client';
import { app, listen, callbackURL, ISSUER, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI } from './app.mjs';

const config = await client.discovery(new URL(ISSUER), CLIENT_ID, CLIENT_SECRET, undefined, { execute: [client.allowInsecureRequests] });

app.get('/login', async (req, res) => {
  const verifier = client.randomPKCECodeVerifier();
  const parameters = {
    redirect_uri: REDIRECT_URI,
    scope: 'openid email offline_access',
    prompt: 'consent',
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  };
  req.session.verifier = verifier;
  if (!config.serverMetadata().supportsPKCE()) parameters.state = req.session.state = client.randomState();
  res.redirect(client.buildAuthorizationUrl(config, parameters).href);
});

app.get('/callback', async (req, res) => {
  const first = await client.authorizationCodeGrant(config, callbackURL(req), { pkceCodeVerifier: req.session.verifier, expectedState: req.session.state });
  const { sub } = first.claims();
  const renewed = await client.refreshTokenGrant(config, first.refresh_token);
  const { active } = await client.tokenIntrospection(config, renewed.access_token);
  const userinfo = await client.fetchUserInfo(config, renewed.access_token, sub);
  if (!active) throw new Error('the renewed token is not active');
  res.send(`signed in as ${userinfo.sub}`);
});

listen();
