// express-openid-connect, EXAMPLES "Back-Channel Logout": the library checks the logout
// token itself, and keeps in the store who signed out.
import express from 'express';
import session from 'express-session';
import { createRequire } from 'node:module';
import { listen, ISSUER, CLIENT_ID, CLIENT_SECRET, ORIGIN, SECRET } from './app.mjs';

const { auth } = createRequire(import.meta.url)('express-openid-connect');

const app = express();
app.use(auth({
  issuerBaseURL: ISSUER, baseURL: ORIGIN, clientID: CLIENT_ID, clientSecret: CLIENT_SECRET, secret: SECRET, idpLogout: true,
  session: { name: CLIENT_ID }, // two apps on one host share their cookies
  authorizationParams: { response_type: 'code' }, backchannelLogout: { store: new session.MemoryStore() },
}));
app.get('/', (req, res) => res.send(`signed in as ${req.oidc.user.sub}`));

listen(app);
