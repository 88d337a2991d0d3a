// oauth4webapi, its example "code" with a client secret.
import * as oauth from 'oauth4webapi';
import { app, listen, callbackURL, ISSUER, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI } from './app.mjs';

const http = { [oauth.allowInsecureRequests]: true };
const issuer = new URL(ISSUER);
const as = await oauth.discoveryRequest(issuer, http).then((response) => oauth.processDiscoveryResponse(issuer, response));
const client = { client_id: CLIENT_ID };
const clientAuth = oauth.ClientSecretPost(CLIENT_SECRET);

app.get('/login', async (req, res) => {
  const verifier = req.session.verifier = oauth.generateRandomCodeVerifier();
  const to = new URL(as.authorization_endpoint);
  to.searchParams.set('client_id', client.client_id);
  to.searchParams.set('redirect_uri', REDIRECT_URI);
  to.searchParams.set('response_type', 'code');
  to.searchParams.set('scope', 'openid email');
  to.searchParams.set('code_challenge', await oauth.calculatePKCECodeChallenge(verifier));
  to.searchParams.set('code_challenge_method', 'S256');
  if (as.code_challenge_methods_supported?.includes('S256') !== true) to.searchParams.set('nonce', req.session.nonce = oauth.generateRandomNonce());
  res.redirect(to.href);
});

app.get('/callback', async (req, res) => {
  const params = oauth.validateAuthResponse(as, client, callbackURL(req));
  const response = await oauth.authorizationCodeGrantRequest(as, client, clientAuth, params, REDIRECT_URI, req.session.verifier, http);
  const result = await oauth.processAuthorizationCodeResponse(as, client, response, { expectedNonce: req.session.nonce, requireIdToken: true });
  const { sub } = oauth.getValidatedIdTokenClaims(result);
  const userinfo = await oauth.processUserInfoResponse(as, client, sub, await oauth.userInfoRequest(as, client, result.access_token, http));
  res.send(`signed in as ${userinfo.sub}`);
});

listen();
