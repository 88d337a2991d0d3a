// better-auth, "Generic OAuth" plugin, without a database (stateless sessions). It signs in
// nobody without an e-mail address; the scopes are those that its documentation shows.
import { betterAuth } from 'better-auth';
import { genericOAuth } from 'better-auth/plugins';
import { toNodeHandler } from 'better-auth/node';
import express from 'express';
import { listen, ISSUER, CLIENT_ID, CLIENT_SECRET, ORIGIN, SECRET } from './app.mjs';

const auth = betterAuth({
  secret: SECRET, baseURL: ORIGIN, telemetry: { enabled: false },
  plugins: [genericOAuth({ config: [{ providerId: 'penname', clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, discoveryUrl: `${ISSUER}/.well-known/openid-configuration`, scopes: ['openid', 'email', 'profile'], pkce: true }] })],
});
const app = express();
app.all('/api/auth/*splat', toNodeHandler(auth));
app.get('/login', async (req, res) => {
  const answer = await auth.api.signInSocial({ body: { provider: 'penname', callbackURL: '/' }, asResponse: true });
  for (const cookie of answer.headers.getSetCookie()) res.append('Set-Cookie', cookie);
  res.redirect((await answer.json()).url);
});
app.get('/', async (req, res) => res.send(`signed in as ${JSON.stringify(await auth.api.getSession({ headers: new Headers({ cookie: req.headers.cookie ?? '' }) }))}`));

listen(app);
