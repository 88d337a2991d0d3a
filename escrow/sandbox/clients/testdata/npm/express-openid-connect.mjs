// express-openid-connect, README "Getting Started"; with a client secret, as its EXAMPLES say
// for the code flow, if CODE is set.
import express from 'express';
import { createRequire } from 'node:module';
import { listen, ISSUER, CLIENT_ID, CLIENT_SECRET, ORIGIN, SECRET } from './app.mjs';

const { auth } = createRequire(import.meta.url)('express-openid-connect');
const code = process.env.CODE ? { clientSecret: CLIENT_SECRET, authorizationParams: { response_type: 'code' } } : {};

const app = express();
app.use(auth({ issuerBaseURL: ISSUER, baseURL: ORIGIN, clientID: CLIENT_ID, secret: SECRET, idpLogout: true, ...code }));
app.get('/', (req, res) => res.send(`signed in as ${req.oidc.user.sub}`));

listen(app);
