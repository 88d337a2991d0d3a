// openid-client 5, README "Authorization Code Flow".
import { Issuer, generators } from 'openid-client-5';
import { app, listen, ISSUER, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI } from './app.mjs';

const issuer = await Issuer.discover(ISSUER);
const client = new issuer.Client({ client_id: CLIENT_ID, client_secret: CLIENT_SECRET, redirect_uris: [REDIRECT_URI], response_types: ['code'] });

app.get('/login', (req, res) => {
  const code_verifier = req.session.verifier = generators.codeVerifier();
  res.redirect(client.authorizationUrl({ scope: 'openid email profile', code_challenge: generators.codeChallenge(code_verifier), code_challenge_method: 'S256' }));
});

app.get('/callback', async (req, res) => {
  const tokenSet = await client.callback(REDIRECT_URI, client.callbackParams(req), { code_verifier: req.session.verifier });
  const userinfo = await client.userinfo(tokenSet.access_token);
  if (userinfo.sub !== tokenSet.claims().sub) throw new Error('two subjects');
  res.send(`signed in as ${userinfo.sub}`);
});

listen();
