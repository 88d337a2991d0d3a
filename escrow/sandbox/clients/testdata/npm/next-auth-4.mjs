// next-auth 4, "Using a custom provider". Its API route is the handler that Next would call;
// Next itself gives it no more than query, cookies and body, which Express gives it here.
import express from 'express';
import { createRequire } from 'node:module';
import { listen, ISSUER, CLIENT_ID, CLIENT_SECRET, ORIGIN, SECRET } from './app.mjs';

process.env.NEXTAUTH_URL = ORIGIN;
const NextAuth = createRequire(import.meta.url)('next-auth').default;
const options = {
  secret: SECRET,
  providers: [{
    id: 'penname', name: 'Penname', type: 'oauth',
    wellKnown: `${ISSUER}/.well-known/openid-configuration`,
    authorization: { params: { scope: 'openid email profile' } },
    idToken: true, checks: ['pkce', 'state'],
    clientId: CLIENT_ID, clientSecret: CLIENT_SECRET,
    profile: (profile) => ({ id: profile.sub, name: profile.name, email: profile.email, image: profile.picture }),
  }],
  callbacks: { session: ({ session, token }) => ({ ...session, user: { ...session.user, id: token.sub } }) },
};
const app = express();
app.use(express.urlencoded({ extended: false }));
app.use((req, res, next) => {
  const cookies = Object.fromEntries((req.headers.cookie ?? '').split('; ').map((pair) => [pair.split('=')[0], decodeURIComponent(pair.slice(pair.indexOf('=') + 1))]));
  Object.defineProperty(req, 'query', { value: { ...req.query }, writable: true });
  req.cookies = cookies;
  next();
});
app.all('/api/auth/*path', (req, res) => {
  req.query.nextauth = req.params.path;
  return NextAuth(req, res, options);
});
app.get('/', async (req, res) => {
  req.query.nextauth = ['session'];
  return NextAuth(req, res, options);
});

listen(app);
