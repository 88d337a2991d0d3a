// openid-client 6 with its strategy for Passport, as its example "passport" has it.
import * as client from 'openid-client';
import { Strategy } from 'openid-client/passport';
import { createRequire } from 'node:module';
import { app, listen, ISSUER, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI } from './app.mjs';

const passport = createRequire(import.meta.url)('passport');
const config = await client.discovery(new URL(ISSUER), CLIENT_ID, CLIENT_SECRET, undefined, { execute: [client.allowInsecureRequests] });

passport.use(new Strategy({ name: 'openid', config, scope: 'openid email', callbackURL: REDIRECT_URI }, (tokens, verified) => verified(null, tokens.claims())));
passport.serializeUser((user, cb) => cb(null, user));
passport.deserializeUser((user, cb) => cb(null, user));

app.use(passport.authenticate('session'));
app.get('/login', passport.authenticate('openid'));
app.get('/callback', passport.authenticate('openid', { successRedirect: '/' }));
app.get('/', (req, res) => res.send(`signed in as ${req.user.sub}`));

listen();
