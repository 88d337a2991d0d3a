// @badgateway/oauth2-client, README "authorization_code flow" with PKCE.
import { OAuth2Client, generateCodeVerifier } from '@badgateway/oauth2-client';
import { app, listen, callbackURL, ISSUER, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI } from './app.mjs';

const client = new OAuth2Client({ server: `${ISSUER}/`, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, discoveryEndpoint: '/.well-known/oauth-authorization-server' });

app.get('/login', async (req, res) => {
  const codeVerifier = req.session.verifier = await generateCodeVerifier();
  res.redirect(await client.authorizationCode.getAuthorizeUri({ redirectUri: REDIRECT_URI, state: 'some-string', codeVerifier, scope: ['openid'] }));
});
app.get('/callback', async (req, res) => {
  const token = await client.authorizationCode.getTokenFromCodeRedirect(callbackURL(req), { redirectUri: REDIRECT_URI, state: 'some-string', codeVerifier: req.session.verifier });
  const { sub } = await fetch(`${ISSUER}/userinfo`, { headers: { Authorization: `Bearer ${token.accessToken}` } }).then((response) => response.json());
  res.send(`signed in as ${sub}`);
});

listen();
