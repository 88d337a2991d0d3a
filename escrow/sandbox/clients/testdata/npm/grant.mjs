// grant, README "Custom Providers" and "OpenID Connect".
import { createRequire } from 'node:module';
import { app, listen, ISSUER, CLIENT_ID, CLIENT_SECRET, ORIGIN } from './app.mjs';

const grant = createRequire(import.meta.url)('grant').express();
app.use(grant({
  defaults: { origin: ORIGIN, transport: 'session', state: true },
  penname: {
    authorize_url: `${ISSUER}/authorize`, access_url: `${ISSUER}/token`, profile_url: `${ISSUER}/userinfo`, oauth: 2,
    key: CLIENT_ID, secret: CLIENT_SECRET, scope: ['openid'], nonce: true, response: ['tokens', 'profile'], callback: '/hello',
  },
}));
app.get('/hello', (req, res) => res.send(`signed in as ${JSON.stringify(req.session.grant.response.profile ?? req.session.grant.response)}`));

listen();
