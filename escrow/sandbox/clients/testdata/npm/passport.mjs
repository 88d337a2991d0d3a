// passport-openidconnect, README "Usage"; NONCE sets the option of that name.
import { createRequire } from 'node:module';
import { app, listen, ISSUER, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI } from './app.mjs';

const require = createRequire(import.meta.url);
const passport = require('passport');
const OpenIDConnectStrategy = require('passport-openidconnect');

passport.use(new OpenIDConnectStrategy({
  issuer: ISSUER,
  authorizationURL: `${ISSUER}/authorize`,
  tokenURL: `${ISSUER}/token`,
  userInfoURL: `${ISSUER}/userinfo`,
  clientID: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  callbackURL: REDIRECT_URI,
  ...(process.env.NONCE ? { nonce: true } : {}),
}, (issuer, profile, cb) => cb(null, { id: profile.id })));
passport.serializeUser((user, cb) => cb(null, user));
passport.deserializeUser((user, cb) => cb(null, user));

app.use(passport.session());
app.get('/login', passport.authenticate('openidconnect'));
app.get('/callback', passport.authenticate('openidconnect', { failWithError: true }), (req, res) => res.send(`signed in as ${req.user.id}`));

listen();
